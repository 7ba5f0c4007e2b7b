"""Settings that a plan has to choose between, compared on CamVid day with few labels and steps.

`python -m benchmarks.defaults.settings_compared --data DIR`: trainings on 28 labelled images by
day, one after the other, each kept when it is done. Selection is on val; test is never read. CPU
seconds count the training alone. Writes plan_settings.md.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.camvid.day_and_dusk import CamVid, evenly, locate, stage
from benchmarks.support import RESULTS, machine, read_json, spread, table
from pipeline import layout
from pipeline.backtest import take_in
from pipeline.config.params import Params, parse_params
from pipeline.files import write_json, write_text
from pipeline.metrics.iou import iou_per_class, mean_iou
from pipeline.planning.plan_rules import NARROW
from pipeline.stages.evaluate import teacher_confusions
from pipeline.training import train_stage
from pipeline.training.probes.probe_choice import LEARNING_RATE, STEPS

DOMAIN, NUM_LABELLED = "day", 28
FASTER = {"learning_rate": 2e-3, "encoder_learning_rate": 5e-4}
PROBE: Mapping[str, Mapping[str, Any]] = {
    "image": {"height_px": 384, "width_px": 480, "scale": 1.0},
    "model": {"name": "probe"},
    "train": {"steps": STEPS, "learning_rate": LEARNING_RATE},
}
# What each changes in the first: DeepLabV3+, whole images squeezed, labels alone.
SETTINGS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "whole images, squeezed to 192x256": {},
    "crops of 192x256 at scale .75": {"image": {"scale": 0.75}},
    "crops of 192x256 at scale 1": {"image": {"scale": 1.0}},
    "U-Net": {"model": {"name": "unet"}},
    "the encoder's rate as high as the decoder's": {"train": {"encoder_learning_rate": 1e-3}},
    "Mean Teacher": {"method": {"name": "mean_teacher"}},
    "twice the steps": {"train": {"steps": 600}},
    "a narrow network, faster": {"model": {"options": NARROW}, "train": FASTER},
    "a narrow network, faster, twice the steps": {
        "model": {"options": NARROW},
        "train": {**FASTER, "steps": 600},
    },
    "Mean Teacher, 2 unlabelled images a step": {
        "method": {"name": "mean_teacher"},
        "train": {"batch_unlabelled": 2},
    },
    "a probe of all pixels": PROBE,
    "a probe at scale .75": {**PROBE, "image": {**PROBE["image"], "scale": 0.75}},
    "a probe at scale .5": {**PROBE, "image": {**PROBE["image"], "scale": 0.5}},
    "a probe, 2,000 steps": {**PROBE, "train": {**PROBE["train"], "steps": 2000}},
}


def main() -> None:
    """Train what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="holds camvid/ and encoders/")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", default="", help="settings whose name has this, such as probe")
    parser.add_argument("--steps", type=int, default=300, help="per training")
    args = parser.parse_args()
    camvid = locate(args.data)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in SETTINGS}
    for seed in range(args.seeds):
        for number, (name, changes) in enumerate(SETTINGS.items()):
            kept = RESULTS / f"plan_settings/{args.steps}-steps-{number}-seed-{seed}.json"
            if not kept.exists():
                if args.only not in name:
                    continue
                print(f"seed {seed}: {name}", flush=True)
                params = params_of(camvid, changes, seed=seed, steps=args.steps)
                write_json(kept, {"setting": name, "seed": seed, **judge(camvid, params)})
            found[name].append(read_json(kept))
            write_text(RESULTS / "plan_settings.md", report(found, args.steps))


def params_of(
    camvid: CamVid, changes: Mapping[str, Mapping[str, Any]], *, seed: int, steps: int
) -> Params:
    """The CamVid campaign's knobs, labels alone on DeepLabV3+, with `changes`."""
    knobs: dict[str, Any] = camvid.settings(seed=seed, steps=steps)
    knobs["model"] = {**knobs["model"], "name": "deeplabv3plus"}
    knobs["method"] = {"name": "supervised"}
    for block, values in changes.items():
        knobs[block] = {**knobs.get(block, {}), **values}
    return parse_params(
        {"classes": list(camvid.classes), "domain": DOMAIN, "domains": {DOMAIN: {}}, **knobs}
    )


def judge(camvid: CamVid, params: Params) -> dict[str, Any]:
    """Train on the same labelled images as all others; mIoU on val and CPU seconds."""
    pool = sorted(
        stem for stem, split in camvid.rows(DOMAIN).items() if split in ("pool", "labelled")
    )
    chosen = set(evenly(pool, NUM_LABELLED))
    rows = {
        stem: "labelled" if stem in chosen else "pool" if split == "labelled" else split
        for stem, split in camvid.rows(DOMAIN).items()
    }
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        take_in(root, stage(camvid, DOMAIN, Path(folder), rows))
        shutil.rmtree(Path(folder) / "incoming", ignore_errors=True)
        begun = time.process_time()
        train_stage(
            "train_teacher", root, params, method_name=params.method.name, model=layout.TEACHER
        )
        cpu_s = time.process_time() - begun
        iou = iou_per_class(teacher_confusions(root, params, "val")[DOMAIN])
    return {"miou": mean_iou(iou), "cpu_s": round(cpu_s), "steps": params.train.steps}


def report(found: Mapping[str, list[dict[str, Any]]], steps: int) -> str:
    """A row for each setting."""
    rows = [
        {
            "setting": name,
            "steps": runs[0]["steps"],
            "mIoU on val": spread(run["miou"] for run in runs),
            "CPU s": round(statistics.fmean(run["cpu_s"] for run in runs)),
            "seeds": len(runs),
        }
        for name, runs in found.items()
        if runs
    ]
    lines = [
        "# Settings that a plan chooses between",
        "",
        f"`python -m benchmarks.defaults.settings_compared`: CamVid day, {NUM_LABELLED} labelled "
        f"images, {steps} steps of batch 4 unless said otherwise, DeepLabV3+ on MobileNetV2 with "
        f"ImageNet weights, encoder's rate 1e-4, labels alone; other rows change what they say "
        f"(faster: rates of 2e-3 and 5e-4; a probe: {STEPS} steps of its head at "
        f"{LEARNING_RATE:g}, features included in the time). mIoU in points, mean +- standard "
        f"deviation over seeds. {machine()}.",
        "",
        *table(rows),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
