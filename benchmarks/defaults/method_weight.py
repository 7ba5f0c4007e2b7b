"""How much unlabelled images should weigh in Mean Teacher: what they do to a step, and to mIoU.

`python -m benchmarks.defaults.method_weight --data DIR`: CamVid day, 28 labelled images, the small
network that a plan takes on a CPU, at several `method.consistency_weight`; each training is kept
when it is done. Selection is on val; test is never read. The share is that of the consistency's
gradient beside the labelled loss's, of the student after its last step. Writes method_weight.md.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from benchmarks.camvid.day_and_dusk import CamVid, evenly, locate, stage
from benchmarks.defaults.settings_compared import (
    DOMAIN,
    FASTER,
    NUM_LABELLED,
    params_of,
)
from benchmarks.support import RESULTS, machine, read_json, spread, table
from pipeline import layout
from pipeline.backtest import take_in
from pipeline.config.params import Params
from pipeline.data.dataset import ImageStore
from pipeline.files import write_json, write_text
from pipeline.metrics.iou import iou_per_class, mean_iou
from pipeline.models import load_beside, load_model
from pipeline.planning.plan_rules import NARROW
from pipeline.records.manifest import read_manifest
from pipeline.stages.evaluate import teacher_confusions
from pipeline.training import train_stage
from pipeline.training.batches import Batches
from pipeline.training.method_setup import TrainingJob, new_method

WEIGHTS = (0, 1, 10, 100)
STEPS, LOOKS = 200, 4
SIZE = {"height_px": 96, "width_px": 128}


def main() -> None:
    """Train what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="holds camvid/ and encoders/")
    parser.add_argument("--seeds", type=int, default=1)
    args = parser.parse_args()
    camvid = locate(args.data)
    for seed in range(args.seeds):
        for weight in WEIGHTS:
            kept = RESULTS / f"method_weight/{weight}-seed-{seed}.json"
            if not kept.exists():
                print(f"seed {seed}: weight {weight}", flush=True)
                write_json(kept, {"weight": weight, "seed": seed, **judge(camvid, weight, seed)})
            files = sorted((RESULTS / "method_weight").glob("*.json"))
            write_text(RESULTS / "method_weight.md", report([read_json(file) for file in files]))


def judge(camvid: CamVid, weight: float, seed: int) -> dict[str, Any]:
    """Train on the same labelled images as all others; mIoU on val, the share, CPU seconds."""
    changes: dict[str, dict[str, Any]] = {
        "image": SIZE,
        "model": {"options": NARROW},
        "method": {"name": "mean_teacher", "consistency_weight": float(weight)},
        "train": {**FASTER, "batch_unlabelled": 2, "keep_snapshots": True, "monitor_share": 0.0},
    }
    params = params_of(camvid, changes, seed=seed, steps=STEPS)
    pool = sorted(s for s, split in camvid.rows(DOMAIN).items() if split in ("pool", "labelled"))
    chosen = set(evenly(pool, NUM_LABELLED))
    rows = {
        stem: "labelled" if stem in chosen else "pool" if split == "labelled" else split
        for stem, split in camvid.rows(DOMAIN).items()
        if split != "test"
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
        return {"miou": mean_iou(iou), "share": share(root, params), "cpu_s": round(cpu_s)}


def share(root: Path, params: Params) -> float | None:
    """Norm of the consistency's gradient over the labelled loss's, the mean of some batches.

    As both come into a step, lambda included; None where unlabelled images have no weight.
    """
    samples = read_manifest(root / layout.MANIFEST)
    store = ImageStore(root, params.image, params.train.cache_mib, params.train.decoded_gib)
    job = TrainingJob(
        root=root,
        stage="share",
        params=params,
        labelled=tuple(sample for sample in samples if sample.labelled),
        unlabelled=tuple(sample for sample in samples if sample.unlabelled),
        monitored=(),
    )
    method: Any = new_method(job, store, torch.device("cpu"))
    teacher = load_model(root / layout.TEACHER)
    student = load_beside(root / layout.TEACHER, teacher)["student"]
    method.student.load_state_dict(student.state_dict())
    method.teacher.network.load_state_dict(cast(nn.Module, teacher.network).state_dict())
    batches = Batches(
        store=store,
        params=params,
        labelled=job.labelled,
        unlabelled=job.unlabelled,
        num_strong_views=method.num_strong_views,
        device=torch.device("cpu"),
    )
    learning = [weights for weights in method.student.parameters() if weights.requires_grad]
    found = []
    for step in range(STEPS, STEPS + LOOKS):
        terms = method(batches.at(step), step).terms
        if "consistency" not in terms:
            return None
        norms = {name: gradient_norm(term, learning) for name, term in terms.items()}
        found.append(norms["consistency"] / norms["supervised"])
    return statistics.fmean(found)


def gradient_norm(loss: Tensor, weights: list[nn.Parameter]) -> float:
    """Of all weights together."""
    found = torch.autograd.grad(loss, weights, allow_unused=True)
    return float(sum(each.square().sum() for each in found if each is not None) ** 0.5)


def report(found: list[dict[str, Any]]) -> str:
    """A row for each weight."""
    rows = []
    for weight in WEIGHTS:
        runs = [run for run in found if run["weight"] == weight]
        if runs:
            shares = [run["share"] for run in runs if run["share"] is not None]
            rows.append(
                {
                    "consistency_weight": weight,
                    "mIoU on val": spread(run["miou"] for run in runs),
                    "gradient beside the labels'": f"{statistics.fmean(shares):.3f}"
                    if shares
                    else "0",
                    "CPU s": round(statistics.fmean(run["cpu_s"] for run in runs)),
                    "seeds": len(runs),
                }
            )
    lines = [
        "# The weight of unlabelled images in Mean Teacher",
        "",
        f"`python -m benchmarks.defaults.method_weight`: CamVid day, {NUM_LABELLED} labelled "
        f"images, {STEPS} steps of 4 labelled and 2 unlabelled at {SIZE['height_px']}x"
        f"{SIZE['width_px']}, narrow DeepLabV3+ on MobileNetV2 with ImageNet weights. mIoU in "
        "points, mean +- standard deviation over seeds; small for a quick run, so weights compare, "
        f"not levels. {machine()}.",
        "",
        *table(rows),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
