"""Backtest by real trainings: the stages of the loop, one training at a time.

All images are one domain of one workspace folder, and what people have answered is in a file per
replay: the workspace's manifest follows from it, so a killed backtest goes on at its round, and a
killed training at its checkpoint.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field
from typing_extensions import TypedDict

from pipeline import layout
from pipeline.backtest.plan import Measured, Plan, training_seed
from pipeline.backtest.replay import take_in
from pipeline.config.block import Block
from pipeline.config.params import (
    AcquireParams,
    DomainParams,
    EmbedParams,
    ImageParams,
    MethodParams,
    ModelParams,
    Params,
    TrainParams,
)
from pipeline.data.ingest import validate_and_stage
from pipeline.data.labelled_folder import LabelledSet
from pipeline.errors import ConfigError
from pipeline.files import alone, write_json
from pipeline.metrics.iou import iou_per_class, mean_iou
from pipeline.probe.features import key_of
from pipeline.reading import REMADE, read
from pipeline.records.manifest import Sample, read_manifest, write_manifest
from pipeline.records.query import read_query
from pipeline.runtime.progress import Progress
from pipeline.stages import acquire, embed, predict, train_teacher
from pipeline.stages.evaluate import teacher_confusions
from pipeline.training.checkpoints import WITHOUT_EFFECT
from pipeline.types import MOST_MEGAPIXELS

DOMAIN = "all"
ALL_MASKS = Path("data/all_masks.csv")  # the manifest if people had answered everything
TRAINED = Path("models/trained.json")  # what models/teacher was trained on and how


class TrainingSettings(Block):
    """What `--set` may change."""

    image: ImageParams = Field(default_factory=ImageParams)
    model: ModelParams = Field(default_factory=ModelParams)
    train: TrainParams = Field(default_factory=TrainParams)
    method: MethodParams = Field(default_factory=MethodParams)
    embed: EmbedParams = Field(default_factory=EmbedParams)
    acquire: AcquireParams = Field(default_factory=AcquireParams)


def measure(data: LabelledSet, plan: Plan, asked: TrainingSettings, cache: Path) -> Measured:
    """Replays of the plan with real trainings; images and finished rounds are kept in `cache`."""
    if plan.unit != "image":
        raise ConfigError(
            "--full asks for whole images only; --fast can ask for regions and corrections"
        )
    plan.check(len(data.pool))
    kept = cache / key_of(data, asked.embed, asked.image)
    root = kept / "workspace"
    with alone(kept / ".lock", f"{root}: another backtest is at work on these images"):
        if not root.exists():
            lay_out(data, root)
        bench = TrainingBench(root=root, params=_params(data, asked))
        ceiling = run(bench, plan.all_labels(len(data.pool)), kept)["random"]
        curves = run(bench, plan, kept)
    size = f"{asked.image.height_px}x{asked.image.width_px} pixels"
    seen = (
        f"in crops of {size} at scale {asked.image.scale:g}" if asked.image.scale else f"at {size}"
    )
    steps = f"{asked.method.name} for {asked.train.steps} steps {seen}"
    return Measured(
        curves=curves,
        labels=plan.labels(len(data.pool)),
        full_supervision=float(np.mean(ceiling)),
        model=f"{asked.model.name} trained by {steps}",
    )


class TrainingBench:
    """A workspace whose masks are all known, in which a backtest trains."""

    def __init__(self, *, root: Path, params: Params) -> None:
        """`root` as `lay_out` made it."""
        self.root, self.params = root, params
        self._samples = read_manifest(root / ALL_MASKS)
        self.pool = [sample.sample_id for sample in self._samples if sample.split == "pool"]

    def miou(self, start: Sequence[str], asked: Sequence[str], seed: int, place: int) -> float:
        """mIoU of a teacher trained on these samples' masks, over all pixels evaluated.

        models/teacher is that teacher then.
        """
        known = _answered(self._samples, set(start), set(asked))
        write_manifest(self.root / layout.MANIFEST, known)
        own = training_seed(seed, place) + self.params.train.seed
        params = self.params.with_knobs(train={"seed": own})
        # The first training of a seed is the same for all strategies.
        trained = [sorted([*start, *asked]), params.model_dump(mode="json", exclude={"acquire"})]
        marker = self.root / TRAINED
        if not marker.exists() or read(marker, remedy=REMADE).json(list[Any]) != trained:
            marker.unlink(missing_ok=True)
            train_teacher.run(self.root, params)
            write_json(marker, trained)
        found_KK = teacher_confusions(self.root, params, "test")[DOMAIN]
        return mean_iou(iou_per_class(found_KK)) or 0.0

    def query(self, name: str, plan: Plan, seed: int) -> list[str]:
        """The next query of a strategy, from predictions of models/teacher."""
        own = self.params.acquire
        changes = {
            "strategy": plan.strategy_of(name, own),
            "query_size": plan.query_size,
            "seed": training_seed(seed, own.seed),
        }
        budget = {"budget": plan.rounds * plan.query_size}
        params = self.params.with_knobs(acquire=changes, loop=budget)
        if not (self.root / layout.EMBEDDINGS / f"{DOMAIN}.npz").exists():
            embed.run(self.root, params)
        predict.run(self.root, params)
        acquire.run(self.root, params)
        return [row.sample_id for row in read_query(self.root / layout.QUERY)]


class _SoFar(TypedDict):
    start: list[str]
    asked: list[str]
    miou: list[float]


@dataclass
class Replay:
    """State of one replay: a strategy with a seed."""

    file: Path
    name: str
    seed: int
    start: list[str]
    asked: list[str]
    """Sample ids in the order of the queries."""
    miou: list[float]

    def turn(self, bench: TrainingBench, plan: Plan) -> None:
        """One more round: train, evaluate, and query unless it is the last."""
        place = len(self.miou)
        self.miou.append(bench.miou(self.start, self.asked, self.seed, place))
        if place < plan.rounds:
            self.asked += bench.query(self.name, plan, self.seed)
        write_json(self.file, {"start": self.start, "asked": self.asked, "miou": self.miou})

    def __str__(self) -> str:
        """For the progress bar."""
        return f"{self.name}, seed {self.seed}, round {len(self.miou) - 1}: {self.miou[-1]:.3f}"


def run(bench: TrainingBench, plan: Plan, kept: Path) -> dict[str, list[list[float]]]:
    """mIoU per strategy, seed and round; rounds that `kept` holds from before are not repeated.

    Seeds outermost and strategies innermost: what is compared is trained early.
    """
    knobs = bench.params.model_dump(mode="json", exclude={"acquire": True, "train": WITHOUT_EFFECT})
    facts = ["full", knobs]
    files = {
        (name, seed): kept / f"{plan.replay_name(name, bench.params.acquire, facts)}-{seed}.json"
        for seed in range(plan.seeds)
        for name in plan.strategies
    }
    replays = {file: _started(bench, plan, *job, file) for job, file in files.items()}
    done = sum(len(each.miou) for each in replays.values())
    with Progress("rounds", len(replays) * (plan.rounds + 1), done=done) as progress:
        for seed in range(plan.seeds):
            for place in range(plan.rounds + 1):
                for each in replays.values():
                    if each.seed == seed and len(each.miou) == place:
                        each.turn(bench, plan)
                        progress.advance(note=each.__str__)
    return {
        name: [replays[files[name, seed]].miou for seed in range(plan.seeds)]
        for name in plan.strategies
    }


def lay_out(data: LabelledSet, root: Path) -> None:
    """All images and masks checked and copied to a workspace folder, whole or not at all.

    What judges is the split test there: it must not steer a training.
    """
    making = root.with_name(f"{root.name}.making")
    shutil.rmtree(making, ignore_errors=True)
    source = making / "source"
    rows = [("id", "split")]
    for split, examples in (("labelled", data.pool), ("test", data.scored)):
        for example in examples:
            _link(example.image, source / "images" / example.image.name)
            _link(example.mask, source / "masks" / f"{example.name}.png")
            rows.append((example.name, split))
    with (source / "splits.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    validate_and_stage(
        name=DOMAIN,
        images=source / "images",
        masks=source / "masks",
        splits=source / "splits.csv",
        classes=data.classes,
        existing_domains=(),
        destination=making / "incoming",
        accept=True,  # a person looks at the figures of a backtest, nobody is asked by it
        max_megapixels=MOST_MEGAPIXELS,
    )
    take_in(making / root.name, making / "incoming" / DOMAIN)
    (making / root.name / layout.MANIFEST).rename(making / root.name / ALL_MASKS)
    (making / root.name).rename(root)
    shutil.rmtree(making)


def _link(target: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target.resolve())


def _params(data: LabelledSet, asked: TrainingSettings) -> Params:
    params = Params(
        classes=data.classes,
        domain=DOMAIN,
        domains={DOMAIN: DomainParams()},
        **{name: getattr(asked, name) for name in TrainingSettings.model_fields},
    )
    # What judges is not monitored, and so no guard decides by it.
    return params.with_knobs(train={"monitor_share": 0.0})


def _answered(samples: Sequence[Sample], start: set[str], asked: set[str]) -> list[Sample]:
    """The manifest with the masks of the start set and of the queries so far."""
    found = []
    for sample in samples:
        if sample.sample_id in asked:
            sample = replace(sample, origin="annotated")
        elif sample.split == "pool" and sample.sample_id not in start:
            sample = replace(sample, mask="", mask_sha256="", origin="")
        found.append(sample)
    return found


def _started(bench: TrainingBench, plan: Plan, name: str, seed: int, file: Path) -> Replay:
    """A replay as `file` holds it, or at its start set."""
    if file.exists():
        so_far = read(file, remedy=REMADE).json(_SoFar)
        return Replay(file=file, name=name, seed=seed, **so_far)
    rows = plan.start_set(len(bench.pool), bench.params.acquire, seed)
    start = [bench.pool[row] for row in rows]
    return Replay(file=file, name=name, seed=seed, start=start, asked=[], miou=[])
