"""Which method pays: CamVid with few labels, the same encoder and steps for every method.

`python -m benchmarks.methods --data DIR` trains whatever of the plan is missing, one training at a
time, and writes methods.{md,json,svg} beside the other results after each; a killed training goes
on at its checkpoint. Labelled images: 1/16, 1/8, 1/4 of the 367 of the official train split, drawn
by the seed; validation: blocks held out of that split (benchmarks/camvid/day_and_dusk.py); the last
step's network is judged. Beside them the ceiling: `supervised` with the labels of all images but
those of val, which says how much unlabelled images can add at that number of steps. `--test` reads
the official test split, once, with the networks kept so far.
"""

from __future__ import annotations

import argparse
import datetime
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.camvid.day_and_dusk import DOMAINS, ENCODER, CamVid, locate, stage
from benchmarks.methods.methods_report import ALL, write_report
from benchmarks.support import RESULTS, read_json
from pipeline import layout
from pipeline.backtest import take_in
from pipeline.config.params import Params, parse_params
from pipeline.files import write_json
from pipeline.inference.logits import pick_device
from pipeline.methods import METHODS
from pipeline.metrics.iou import iou_per_class, mean_iou
from pipeline.models import load_model
from pipeline.stages.evaluate import teacher_confusions
from pipeline.training import train_stage

NUM_TRAIN = 367  # of the official split, which "1/8 labelled" refers to
SEVERAL_SEEDS = ("supervised", "mean_teacher", "fixmatch", "cps", "unimatch_v2")
# What fits 2 cores: the encoder to stride 16 (0.6 million parameters) with a narrow decoder. Rates
# and threshold were chosen on val with `supervised` and `fixmatch`, seed 0; all methods have them.
MODEL_OPTIONS = {"deeplabv3plus": {"encoder_depth": 4, "decoder_channels": 64}}
TRAIN = {"learning_rate": 2e-3, "encoder_learning_rate": 5e-4}
METHOD = {"ema_decay": 0.98, "confidence_threshold": 0.7}
WORK = Path("workspaces/methods")  # git-ignored: images, checkpoints, networks


@dataclass(frozen=True, kw_only=True)
class MethodRun:
    """One training of the plan."""

    method: str
    model: str
    labelled_fraction: str
    seed: int
    steps: int
    image_size: str
    """Height x width in pixels."""

    @property
    def name(self) -> str:
        """For files."""
        fraction = self.labelled_fraction.replace("/", "-")
        where = f"{self.model}-{self.image_size}-{self.steps}-steps"
        return f"{where}/{self.method}-{fraction}-seed-{self.seed}"


def main() -> None:
    """Run what is missing, one after the other."""
    args = arguments()
    camvid = locate(args.data)
    plan = plan_of(args)
    if args.list:
        print("\n".join(run.name for run in plan))
        return
    for place, run in enumerate(plan, start=1):
        kept = RESULTS / "methods" / f"{run.name}.json"
        if not kept.exists():
            print(f"{place}/{len(plan)} {run.name}", flush=True)
            write_json(kept, judge(camvid, run, args.device))
        if args.test and "test_miou" not in read_json(kept):
            if (WORK / run.name / layout.TEACHER).exists():
                write_json(kept, {**read_json(kept), **read_test(run)})
            else:
                print(f"{run.name}: network not kept in {WORK}; test not read", flush=True)
        write_report(found())


def arguments() -> argparse.Namespace:
    """What to train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="holds camvid/ and encoders/")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--fractions", nargs="+", choices=("1/16", "1/8", "1/4"), default=["1/8"])
    parser.add_argument("--seeds", type=int, default=3, help="of the five main methods")
    parser.add_argument("--other-seeds", type=int, default=1, help="of all other methods")
    parser.add_argument("--steps", type=int, default=1000, help="per training")
    parser.add_argument("--model", default="deeplabv3plus")
    parser.add_argument("--size", default="128x160", help="height x width, divisible by 32")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--list", action="store_true", help="say what the plan is, and stop")
    parser.add_argument("--test", action="store_true", help="read the test split, once")
    return parser.parse_args()


def plan_of(args: argparse.Namespace) -> list[MethodRun]:
    """Seeds outermost: what is compared is trained early."""
    chosen = [name for name in SEVERAL_SEEDS if name in args.methods]
    chosen += [name for name in args.methods if name not in chosen]
    ceiling = [(seed, "supervised", ALL) for seed in range(args.seeds)]
    rows = ceiling + [
        (seed, method, fraction)
        for fraction in args.fractions
        for seed in range(max(args.seeds, args.other_seeds))
        for method in chosen
        if seed < (args.seeds if method in SEVERAL_SEEDS else args.other_seeds)
    ]
    return [
        MethodRun(
            method=method,
            model=args.model,
            labelled_fraction=fraction,
            seed=seed,
            steps=args.steps,
            image_size=args.size,
        )
        for seed, method, fraction in rows
    ]


def judge(camvid: CamVid, run: MethodRun, device: str) -> dict[str, Any]:
    """Train; mIoU on val over both domains' pixels, and per domain."""
    root = WORK / run.name
    params = params_of(camvid, run, device)
    if not (root / layout.MANIFEST).exists():
        lay_out(camvid, run, root)
    train_stage("train_teacher", root, params, method_name=run.method, model=layout.TEACHER)
    found_KK = teacher_confusions(root, params, "val")
    training = read_json(root / layout.TEACHER_TRAINING)
    return {
        **asdict(run),
        "miou": pooled_miou(found_KK),
        "miou_by_domain": {name: mean_iou(iou_per_class(found_KK[name])) for name in DOMAINS},
        "labelled": training["labelled"],
        "reliable_share": training.get("reliable_share", [None])[-1],
        "device": pick_device(device).type,
    }


def read_test(run: MethodRun) -> dict[str, Any]:
    """mIoU on the official test split, and the day it was read."""
    root = WORK / run.name
    config = load_model(root / layout.TEACHER).config
    domains: dict[str, Any] = {name: {} for name in DOMAINS}
    params = parse_params({"classes": config["classes"], "domains": domains})
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    found_KK = teacher_confusions(root, params, "test")
    return {"test_miou": pooled_miou(found_KK), "test_read": today}


def pooled_miou(found_KK: Mapping[str, Tensor]) -> float | None:
    """mIoU over the pixels of all domains together."""
    return mean_iou(iou_per_class(torch.stack(list(found_KK.values())).sum(0)))


def params_of(camvid: CamVid, run: MethodRun, device: str) -> Params:
    """The benchmark's knobs: those of the CamVid campaign, at this run's size."""
    height_px, width_px = (int(side) for side in run.image_size.split("x"))
    settings = camvid.settings(seed=run.seed, steps=run.steps)
    settings["image"] = {"height_px": height_px, "width_px": width_px}
    options = MODEL_OPTIONS.get(run.model, {})
    settings["model"] |= {"name": run.model, "encoder": ENCODER, "options": options}
    settings["train"] |= {"device": device, **TRAIN}
    settings["method"] = {"name": run.method, **METHOD}
    domains: dict[str, Any] = {name: {} for name in DOMAINS}
    return parse_params(
        {"classes": list(camvid.classes), "domain": "dusk", "domains": domains, **settings}
    )


def with_deeplabv3plus(settings: Mapping[str, Any], image: Mapping[str, int]) -> dict[str, Any]:
    """The campaign's knobs for the network that this benchmark trains, on images of that size."""
    changes: dict[str, dict[str, Any]] = {
        "model": {"name": "deeplabv3plus", "options": MODEL_OPTIONS["deeplabv3plus"]},
        "train": TRAIN,
        "method": METHOD,
    }
    changed = {block: {**settings.get(block, {}), **values} for block, values in changes.items()}
    return {**settings, **changed, "image": image}


def lay_out(camvid: CamVid, run: MethodRun, root: Path) -> None:
    """Both domains in `root`, with this run's labelled images; whole or not at all."""
    beside = root.with_name(f"{root.name}.making")
    shutil.rmtree(beside, ignore_errors=True)
    chosen = labelled_of(camvid, run)
    for domain in DOMAINS:
        rows = {
            stem: "labelled" if stem in chosen else "pool" if split == "labelled" else split
            for stem, split in camvid.rows(domain).items()
        }
        take_in(beside / "root", stage(camvid, domain, beside, rows))
    (beside / "root").rename(root)
    shutil.rmtree(beside)


def labelled_of(camvid: CamVid, run: MethodRun) -> set[str]:
    """This seed's labelled images: a uniform draw over the train images of both domains."""
    pool = sorted(
        stem
        for domain in DOMAINS
        for stem, split in camvid.rows(domain).items()
        if split in ("pool", "labelled")
    )
    if run.labelled_fraction == ALL:
        return set(pool)
    part = int(run.labelled_fraction.split("/")[1])
    rng = np.random.default_rng([run.seed, part])
    return set(rng.choice(pool, size=round(NUM_TRAIN / part), replace=False).tolist())


def found() -> list[dict[str, Any]]:
    """All results that are kept, whichever plan they were of."""
    return [read_json(file) for file in sorted((RESULTS / "methods").glob("*/*.json"))]


if __name__ == "__main__":
    main()
