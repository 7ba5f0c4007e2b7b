"""What a report shows, as plain values: gathered by whoever calls `render`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.campaign.forgetting import Judgement
from pipeline.campaign.idle_time import IdleTime
from pipeline.campaign.stopping import Advice
from pipeline.metrics.audit_estimate import AuditEstimate
from pipeline.records.regions import Box


@dataclass(frozen=True, kw_only=True)
class RoundFacts:
    """One row of the round table; answers are those to this round's query."""

    domain: str
    round_index: int
    labelled: int
    """Images that this round's trainings learnt from, in all domains."""
    annotated: int
    """Annotations in this domain before this round's query."""
    miou_baseline: float | None
    """In [0, 1], on the domain's val split; None = not yet measurable."""
    miou_teacher: float | None
    accepted: int
    skipped: int
    corrected: int
    """Accepted annotations that differ from their pre-annotation."""
    quarantined: int
    minutes: float | None
    """Time of people over the accepted annotations; None = not known."""
    tag: str
    regions: int = 0
    """Accepted, where people are asked for regions."""
    pixel_share: float | None = None
    """Of the pixels of the domain's pool, those in these regions; None with whole images."""
    reliable_share: float | None = None
    """Pseudo-label coverage: mean share of reliable pixels over the pool, in [0, 1]."""
    transductive: bool = False
    """Whether the teacher learnt from val and test images, without their masks."""


@dataclass(frozen=True, kw_only=True)
class QueryItemFacts:
    """One image that people are asked for."""

    sample_id: str
    rank: int
    score: float
    source: str
    reason: str
    image_path: Path
    pseudo_label_path: Path | None
    """Class indices; None without a trained model."""
    uncertainty_path: Path | None
    """255 * entropy / log K."""
    minutes: float | None = None
    """Of people's time that it is expected to take."""
    boxes: tuple[Box, ...] = ()
    """The regions that are asked for; () = the whole image."""


@dataclass(frozen=True, kw_only=True)
class ExampleFacts:
    """One unlabelled image with the pseudo-label it teaches by."""

    sample_id: str
    image_path: Path
    pseudo_label_path: Path
    confidence_path: Path
    """255 * largest probability."""


@dataclass(frozen=True, kw_only=True)
class LeftOutFacts:
    """One image that the loop does without."""

    sample_id: str
    reason: str
    image_path: Path


@dataclass(frozen=True, kw_only=True)
class AlarmFacts:
    """One alarm of the watch on incoming images."""

    at: str
    """ISO 8601, UTC."""
    folder: str
    since: str
    """Name of the image where the change is most likely to have begun."""
    image: str
    """Name of the image that raised it."""
    num_images: int
    """From the one to the other."""
    nearest_domain: str
    suspicion: float
    opened: str | None
    """The domain made of them."""


@dataclass(frozen=True, kw_only=True)
class ShiftFacts:
    """What was said of a domain when it arrived."""

    domain: str
    in_words: tuple[str, ...]
    """The verdict first."""
    page: str
    """The whole report: a file beside this page."""


@dataclass(frozen=True, kw_only=True)
class PlannedKnob:
    """One choice of the plan."""

    knob: str
    """As in params.yaml, such as train.steps."""
    value: str
    reason: str
    yours: bool
    """Whether a person set it, so that the plan let it be."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything on the page."""

    workspace_name: str
    domain: str
    round_index: int
    class_names: tuple[str, ...]
    class_colours: tuple[str, ...]
    """`#rrggbb` per class index."""
    rounds: tuple[RoundFacts, ...]
    """In order of arrival and round; the current one included."""
    evaluation: dict[str, Any] | None
    """metrics/evaluation.json of this round."""
    previous_evaluation: dict[str, Any] | None
    """The same of the round before, of whichever domain."""
    training: dict[str, Any]
    """metrics/train_baseline.json and train_teacher.json under "baseline" and "teacher"."""
    query: tuple[QueryItemFacts, ...]
    pseudo_label_examples: tuple[ExampleFacts, ...]
    versions: dict[str, str]
    """Name to version or hash, in the order to show."""
    links: dict[str, str]
    """Name to address; an address other than http(s) is shown as text."""
    audit: AuditEstimate | None = None
    """Of this domain, over the rounds merged so far; None = nothing is drawn at random yet."""
    stopping: Advice | None = None
    """What the round says about stopping."""
    forgetting: Judgement | None = None
    """What the round cost older domains."""
    confidence_threshold: float = 0.95
    """tau: below it a pixel of an example is shown as unreliable."""
    left_out: tuple[LeftOutFacts, ...] = ()
    """Of this domain, in order of ids."""
    alarms: tuple[AlarmFacts, ...] = ()
    """Noticed by the watch, oldest first."""
    shifts: tuple[ShiftFacts, ...] = ()
    """In order of arrival; none for domains taken in before there was a model."""
    not_pushed: tuple[str, ...] = ()
    """Tags that a remote should have and lacks, after a push of one of them failed."""
    push_failure: str = ""
    """Why it failed; "" where none did."""
    weights: tuple[str, ...] = ()
    """What is amiss with the weights that encoders begin from."""
    plan: tuple[PlannedKnob, ...] = ()
    """What stood at auto in params.yaml and what stood beside it; none without a plan."""
    accepted_blind: int = 0
    """Answers of this domain submitted in a moment, unchanged, where a model was unsure."""
    idle: IdleTime | None = None
    """Of the people of this domain's campaign; None before anything was asked."""
    why_finished: str = ""
    """Why the round asks for nothing, where it does."""

    def __post_init__(self) -> None:
        """ValueError unless every class has its colour."""
        if len(self.class_names) != len(self.class_colours):
            raise ValueError(
                f"{len(self.class_colours)} colours for {len(self.class_names)} classes; "
                "expected one each, of pipeline.class_colours.class_colours"
            )
