"""The knobs of rounds, people and what arrives: `loop`, `annotation`, `watch` of `params.yaml`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.config.block import Block
from pipeline.types import MOST_MEGAPIXELS


class LoopParams(Block):
    """When rounds end and what is kept for judging."""

    budget: Annotated[int, Field(ge=0)] | None = None
    """Answers allowed per domain, skips included: people's time is spent on both. With
    acquire.query_unit: region every region counts. null = the loop asks until people or a stopping
    rule end it; a budget that is raised or taken away opens a campaign again that had spent it."""
    val_share: Annotated[float, Field(ge=0, le=0.9)] = 0.5
    """Where a domain has no val split: share of its random picks that becomes val on arrival."""
    close_at: Annotated[float, Field(gt=0, le=1)] = 0.75
    """Share of a query with whose answers the next round is computed, if the random picks are among
    them; the rest stays open meanwhile and counts when it comes. 1 = everything is waited for, as
    for a domain's last query always."""
    round_timeout_h: Annotated[float, Field(gt=0)] = 168.0
    """A round closes after this long with what is there."""
    stop: Literal["advise", "auto"] = "advise"
    """What the two rules below do when one says stop: tell people, or close the domain as a spent
    budget does."""
    stop_set_size: Annotated[int, Field(ge=1)] = 64
    """Unlabelled images, the same in all rounds, on which a teacher is compared with the last."""
    stop_agreement: Annotated[float, Field(ge=0, le=1)] = 0.95
    """Stop when the mean IoU between the two is at least this ..."""
    stop_rounds: Annotated[int, Field(ge=1)] = 3
    """... for so many rounds."""
    stop_gain_per_hour: Annotated[float, Field(ge=0, le=1)] = 0.002
    """Stop when an hour of annotation brings less mIoU than this, 95 % sure; 0 = never."""
    forgetting: Literal["flag", "refuse"] = "flag"
    """When a round costs an older domain more than the tolerance: say so, or also not offer its
    teacher, so that the models of the last round before stay the newest (docs/forgetting.md)."""
    forgetting_tolerance: Annotated[float, Field(ge=0, le=1)] = 0.01
    """mIoU on its val images that an older domain may lose."""
    max_megapixels: Annotated[float, Field(ge=1, le=MOST_MEGAPIXELS)] = 64.0
    """The largest image or mask that `ssl-loop domain add` and the watch read. Reading one takes 7
    bytes a pixel: 0.45 GB at 64, which no full-frame camera reaches."""
    branch: str = "main"
    """The workspace's branch; the loop refuses to commit to another."""


class AnnotationParams(Block):
    """The tool people annotate in."""

    tool: str = "label_studio"
    """A row of flows.annotators.ANNOTATORS."""
    url: str | None = None
    """An existing server; null = the one that `ssl-loop up` starts. The token is never kept here:
    it comes from LABEL_STUDIO_API_KEY or .ssl-loop/secrets.json."""
    title: str = "ssl-loop"
    """Prefix of the project names in the tool; one project per domain."""
    background: str | None = None
    """The class that nobody has to paint: what people leave bare is of it; null = it is unknown.
    Holds from the next round on: answers keep the meaning that they were asked with."""
    assist: bool = True
    """Whether `ssl-loop up` starts the server that turns clicks into masks (docs/assist.md), for
    the Label Studio that it starts too."""
    overlap: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of a query's images that two people are asked for, drawn at random. No round waits for
    the second answer."""
    disagree_below: Annotated[float, Field(ge=0, le=1)] = 0.7
    """Mean Jaccard index over the classes below which two people's answers to an image disagree:
    its task then asks for a third look."""


class WatchParams(Block):
    """When new images no longer come from a known domain (docs/watch.md)."""

    folder: str | None = None
    """Folder that the deployment `ssl-watch` looks at; null = it is not scheduled."""
    false_alarm_every: Annotated[int, Field(ge=10)] = 10_000
    """Images between two false alarms, on average and at least: the suspicion at which one is
    raised."""
    window: Annotated[int, Field(ge=1)] = 2
    """Images in a row that may show the same moment, as frames of a video do: together they count
    as one."""
    open_domain: bool = False
    """Whether an alarm opens a new domain with the images since the change."""
    domain_size: Annotated[int, Field(ge=1)] = 32
    """Images since the change that it waits for before it opens one."""
