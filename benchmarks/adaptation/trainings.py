"""CamVid day, then dusk: what adapting without labels gives, and what a few asked-for labels add.

`python -m benchmarks.adaptation --data DIR` trains whatever of the plan is missing, one training at
a time, and writes adaptation.{md,json,svg} beside the other results after each; a killed training
goes on at its checkpoint. Per seed one model of all day labels; every other training starts from it
and takes as many steps as the next. Dusk images are asked for at pipeline level: embed, predict,
acquire, with all defaults. Settings were chosen on blocks held out of the train images
(`benchmarks.adaptation.pilots`); `--test` reads the official test split with the networks kept so
far, each once. The rows with junk: as many blank, blurred and foreign images as make 20 % of the
dusk pool, let in, or met by the hygiene of `domain add`.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from benchmarks.adaptation.adaptation_report import write_report
from benchmarks.adaptation.junk import JUNK, write_junk
from benchmarks.camvid.day_and_dusk import DOMAINS, VAL_EVERY, CamVid, locate, stage_laid_out
from benchmarks.methods.few_labels import with_deeplabv3plus
from benchmarks.support import RESULTS, read_json
from pipeline import layout
from pipeline.acquisition.cold_start import cold_start
from pipeline.acquisition.pool import Pool
from pipeline.backtest import take_in
from pipeline.config.params import NO_ADAPTATION, AdaptParams, MethodParams, Params, parse_params
from pipeline.files import write_json
from pipeline.metrics.iou import iou_per_class, mean_iou
from pipeline.records.manifest import Sample, read_manifest, write_manifest
from pipeline.records.query import parse_query
from pipeline.stages import acquire, embed, predict
from pipeline.stages.evaluate import teacher_confusions
from pipeline.training import train_stage

DAY, DUSK = DOMAINS
DAY_STEPS, STEPS = 1000, 600
SIZE = {"height_px": 128, "width_px": 160}
WORK = Path("workspaces/adaptation")  # git-ignored: images, checkpoints, networks
KEPT = RESULTS / "adaptation"
ALL_MASKS = Path("data/all_masks.csv")  # the manifest if people had answered everything
ADAPT = AdaptParams().model_dump()  # the defaults
Changes = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Blocks of params.yaml by the name of a change."""
METHOD_NAME = MethodParams().name


@dataclass(frozen=True, kw_only=True)
class AdaptationRun:
    """One row of the table for one seed."""

    kind: str
    labels: int
    seed: int
    change: str = ""
    """Of the settings, one of `Bench.changes`; "" for none."""

    @property
    def name(self) -> str:
        """For files."""
        change = f"{self.change}-" if self.change else ""
        return f"{change}{self.kind}-{self.labels}-seed-{self.seed}"


def main() -> None:
    """Run what is missing, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="camvid/, dsb2018/, encoders/")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--list", action="store_true", help="say what the plan is, and stop")
    parser.add_argument("--test", action="store_true", help="read the test split, once")
    args = parser.parse_args()
    runs = plan(args.seeds)
    if args.list:
        print("\n".join(run.name for run in runs))
        return
    bench = Bench(locate(args.data), args.data / "dsb2018", WORK)
    for place, run in enumerate(runs, start=1):
        kept = KEPT / f"{run.name}.json"
        if not kept.exists():
            print(f"{place}/{len(runs)} {run.name}", flush=True)
            write_json(kept, bench.judge(run))
        if args.test and "test" not in read_json(kept):
            write_json(kept, {**read_json(kept), **bench.read_test(run)})
        write_report([read_json(file) for file in sorted(KEPT.glob("*.json"))])


MAIN = [("as_is", 0), ("unlabelled", 0), ("herding", 8), ("random", 8), ("all", 0)]
OTHERS = [("junk_let_in", 0), ("longer", 0), ("herding", 4), ("random", 4), ("herding", 16)]
OTHERS += [("random", 16), ("medoids", 8), ("junk_left_out", 0)]


def plan(seeds: int) -> list[AdaptationRun]:
    """What is asked for first, with all seeds; then the rest, seed by seed."""
    return [
        AdaptationRun(kind=kind, labels=labels, seed=seed)
        for rows in (MAIN, OTHERS)
        for seed in range(seeds)
        for kind, labels in rows
    ]


class Bench:
    """One folder laid out like a workspace, of which all masks are known."""

    def __init__(
        self, camvid: CamVid, cells: Path, work: Path, changes: Changes = MappingProxyType({})
    ) -> None:
        """Lay it out in `work` unless it is there."""
        self.camvid, self.work, self.root = camvid, work, work / "root"
        self.changes = changes
        if not self.root.exists():
            lay_out(camvid, cells, self.root)
        self._samples = read_manifest(self.root / ALL_MASKS)

    def judge(self, run: AdaptationRun) -> dict[str, Any]:
        """Train; mIoU per domain on val."""
        asked = self._asked(run)
        samples = self._manifest(run, asked)
        write_manifest(self.root / layout.MANIFEST, samples)
        params = self.params(run)
        self._place(layout.PREVIOUS_TEACHER, None if run.kind == "as_is" else self._net(run.seed))
        name = params.method.name
        train_stage("train_teacher", self.root, params, method_name=name, model=layout.TEACHER)
        shutil.copytree(self.root / layout.TEACHER, self._kept(run), dirs_exist_ok=True)
        return {
            "kind": run.kind,
            "labels": sum(s.domain == DUSK and s.labelled for s in samples),
            "seed": run.seed,
            "asked": sorted(asked),
            "unlabelled": sum(s.unlabelled for s in samples),
            "steps": params.train.steps,
            "warm_start_share": params.adapt.warm_start_share,
            "val": self._miou(params, "val"),
            "val_present": self._miou(params, "val", present=True),
        }

    def judged(self, run: AdaptationRun) -> dict[str, float | None]:
        """mIoU of a network that was kept, per domain on val over the classes that it shows."""
        self.place_teacher(run)
        return self._miou(self.params(run), "val", present=True)

    def read_test(self, run: AdaptationRun) -> dict[str, Any]:
        """mIoU per domain on the official test split, and the day it was read."""
        self.place_teacher(run)
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        return {"test": self._miou(self.params(run), "test"), "test_read": [today]}

    def place_teacher(self, run: AdaptationRun) -> None:
        """The network that was kept as the workspace's teacher, and a manifest with all masks."""
        self._place(layout.TEACHER, self._kept(run))
        write_manifest(self.root / layout.MANIFEST, self._samples)

    def params(self, run: AdaptationRun) -> Params:
        """The benchmark's knobs; the day model and its continuation know no adaptation."""
        alone = run.kind in ("as_is", "longer")
        settings = self.camvid.settings(
            seed=run.seed, steps=STEPS if run.kind != "as_is" else DAY_STEPS
        )
        settings = with_deeplabv3plus(settings, SIZE)
        # Not monitored: a guard would decide by val masks of dusk.
        settings["train"] |= {"device": "cpu", "monitor_share": 0.0}
        settings["method"] |= {"name": "supervised" if alone else METHOD_NAME}
        settings["acquire"] |= {"query_size": max(1, run.labels)}
        settings["adapt"] = NO_ADAPTATION.model_dump() | {"warm_start": run.kind == "longer"}
        if not alone:
            settings["adapt"] = ADAPT
        for block, values in self.changes.get(run.change, {}).items():
            settings[block] = settings[block] | values
        return parse_params(
            {
                "classes": list(self.camvid.classes),
                "domain": DUSK,
                "domains": {DAY: {}, DUSK: {}},
                "loop": {"budget": 100},
                **settings,
            }
        )

    def _asked(self, run: AdaptationRun) -> list[str]:
        """Ids of the dusk images whose masks people gave."""
        pool = sorted(s.sample_id for s in self.clean() if s.domain == DUSK and s.labelled)
        if run.kind == "all":
            return pool
        if run.labels == 0:
            return []
        if run.kind == "random":
            rng = np.random.default_rng([run.seed, run.labels])
            return [str(name) for name in rng.choice(pool, size=run.labels, replace=False)]
        write_manifest(self.root / layout.MANIFEST, self._manifest(run, []))
        params = self.params(run)
        for domain in DOMAINS:
            if not (self.root / layout.EMBEDDINGS / f"{domain}.npz").exists():
                embed.run(self.root, params, domain=domain)
        if run.kind == "medoids":
            return self._medoids(pool, run, params)
        self._place(layout.TEACHER, self._net(run.seed))
        predict.run(self.root, params)
        acquire.run(self.root, params)
        text = (self.root / layout.QUERY).read_text(encoding="utf-8")
        return [row.sample_id for row in parse_query(text)]

    def _medoids(self, pool: list[str], run: AdaptationRun, params: Params) -> list[str]:
        with np.load(self.root / layout.EMBEDDINGS / f"{DUSK}.npz") as arrays:
            rows = {str(name): row for row, name in enumerate(arrays["sample_ids"])}
            vectors_ND = arrays["embeddings_ND"].astype(np.float64)
        embeddings_ND = vectors_ND[[rows[name] for name in pool]]
        candidates = Pool(
            sample_ids=tuple(pool),
            embeddings_ND=embeddings_ND,
            labelled_embeddings_MD=embeddings_ND[:0],
        )
        rng = np.random.default_rng(run.seed)
        picks = cold_start(candidates, run.labels, params.acquire, rng)
        return [pick.sample_id for pick in picks]

    def _manifest(self, run: AdaptationRun, asked: Iterable[str]) -> list[Sample]:
        """Day as labelled, dusk as asked for, and junk as the run says."""
        samples = self._samples if run.kind.startswith("junk") else self.clean()
        known = set(asked)
        found = []
        for sample in samples:
            if sample.domain == DUSK and sample.labelled and sample.sample_id not in known:
                sample = replace(sample, mask="", mask_sha256="", origin="")
            if run.kind == "junk_let_in":
                sample = replace(sample, left_out="")
            found.append(sample)
        return found

    def clean(self) -> list[Sample]:
        """All samples but the junk, with their masks."""
        return [s for s in self._samples if not s.sample_id.startswith(f"{DUSK}/{JUNK}")]

    def _miou(
        self, params: Params, split: Any, *, present: bool = False
    ) -> dict[str, float | None]:
        """Per domain; `present`: over the classes that its masks show, whatever is predicted."""
        found = {}
        for domain, counts_KK in teacher_confusions(self.root, params, split).items():
            ious = iou_per_class(counts_KK)
            if present:
                shown = counts_KK.sum(dim=1).tolist()
                ious = [iou for iou, count in zip(ious, shown, strict=True) if count]
            found[domain] = mean_iou(ious)
        return found

    def _net(self, seed: int) -> Path:
        """The day model of a seed."""
        return self._kept(AdaptationRun(kind="as_is", labels=0, seed=seed))

    def _kept(self, run: AdaptationRun) -> Path:
        return self.work / "networks" / run.name

    def _place(self, folder: Path, network: Path | None) -> None:
        shutil.rmtree(self.root / folder, ignore_errors=True)
        if network is not None:
            shutil.copytree(network, self.root / folder)


def lay_out(camvid: CamVid, cells: Path, root: Path, dusk_block: int = VAL_EVERY // 2) -> None:
    """Both domains with all masks, and junk in the dusk pool; whole or not at all.

    `dusk_block`: which 20 frames of dusk are val.
    """
    making = root.with_name(f"{root.name}.making")
    shutil.rmtree(making, ignore_errors=True)
    for domain in DOMAINS:
        splits = camvid.rows(domain, dusk_block) if domain == DUSK else camvid.rows(domain)
        rows = {stem: "labelled" if split == "pool" else split for stem, split in splits.items()}
        source = making / f"{domain}-source"
        camvid.lay_out(domain, source, rows)
        if domain == DUSK:
            pool = [
                source / "images" / f"{s}.jpg" for s, split in rows.items() if split == "labelled"
            ]
            junk = write_junk(source / "images", pool, sorted((cells / "images").iterdir()))
            with (source / "splits.csv").open("a", newline="") as file:
                csv.writer(file).writerows((stem, "pool") for stem in junk)
        take_in(making / "root", stage_laid_out(camvid, domain, making))
    (making / "root" / layout.MANIFEST).rename(making / "root" / ALL_MASKS)
    (making / "root").rename(root)
    shutil.rmtree(making)


if __name__ == "__main__":
    main()
