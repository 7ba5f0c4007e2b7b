"""What a newcomer gets beside a plain script: equal labels, equal CPU time, nothing set by hand.

`python -m benchmarks.defaults --data DIR`: for each set, number of labels and seed the plan is made
as the loop makes it, baseline and teacher are trained, and a script of 80 lines (plain_script.py)
gets the same labelled images and as many CPU seconds as our trainings took. The newcomer has
added the encoder file and nothing else. Both are judged on the official test split. The set
`surfaces` is drawn (surfaces.py): 1920x1080 pixels with things of 12 and 2, of which the second are
judged by what is found within 3 pixels as well. A finished cell is kept, so it can be interrupted;
writes defaults.md.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import torch

from benchmarks.camvid.day_and_dusk import ENCODER, CamVid, locate, stage
from benchmarks.defaults import surfaces
from benchmarks.support import RESULTS, machine, read_json, spread, table
from pipeline import layout
from pipeline.backtest import take_in
from pipeline.config.params import AUTO_KNOBS, PLANNED_KNOBS, Params, parse_params
from pipeline.config.planned import AUTO, in_blocks
from pipeline.files import write_json, write_text
from pipeline.inference.logits import logits_and_masks
from pipeline.metrics.tolerance import Near
from pipeline.models import load_model
from pipeline.models.weights import add_weights
from pipeline.planning.gather_facts import gather_facts
from pipeline.planning.plan_rules import Profile
from pipeline.planning.training_plan import make_plan
from pipeline.records.manifest import read_manifest
from pipeline.runtime.weights_folder import VARIABLE
from pipeline.stages.evaluate import evaluate_split
from pipeline.training import train_stage

SURFACES = "surfaces"
# Set -> the one domain of it that is looked at, and its blocks of val: every fifth of so many.
SETS = {"camvid": ("day", 20), "dsb2018": ("fluorescence", 1), SURFACES: (surfaces.DOMAIN, 1)}
DRAWN = Path("workspaces/surfaces")  # git-ignored
WITHIN_PX = 3
SMALL = ("disc", "crack")  # of surfaces
PLAIN = Path(__file__).with_name("plain_script.py")


@dataclass(frozen=True, kw_only=True)
class DefaultsCell:
    """One comparison."""

    data: str
    labels: int
    seed: int
    profile: Profile

    @property
    def name(self) -> str:
        """For files."""
        return f"{self.data}-{self.labels}-{self.profile}-seed-{self.seed}"


def main() -> None:
    """Compare what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="holds the sets and encoders/")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--labels", nargs="+", type=int, default=[12, 28, 60])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--profiles", nargs="+", choices=get_args(Profile), default=["balanced"])
    args = parser.parse_args()
    cells = [
        DefaultsCell(data=data, labels=labels, seed=seed, profile=profile)
        for profile in args.profiles
        for seed in range(args.seeds)
        for labels in args.labels
        for data in args.sets
    ]
    for number, cell in enumerate(cells, start=1):
        kept = RESULTS / f"defaults/{cell.name}.json"
        if not kept.exists():
            print(f"{number}/{len(cells)} {cell.name}", flush=True)
            write_json(kept, compared(args.data, cell))
        write_text(RESULTS / "defaults.md", report())


def compared(data: Path, cell: DefaultsCell) -> dict[str, Any]:
    """mIoU on test of the plan's teacher and baseline and of the plain script, and the CPU time."""
    domain, block = SETS[cell.data]
    weights = locate(data).weights
    pictures = CamVid(data=_folder_of(data, cell.data), weights=weights)
    rows = with_labels(splits_of(pictures.data, domain, block), cell.labels, cell.seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        take_in(root, stage(pictures, domain, Path(folder), rows))
        os.environ[VARIABLE] = str(Path(folder) / "weights")
        add_weights(
            weights, ENCODER, normalisation="symmetric", encoder_options={"pad_type": "same"}
        )
        params = newcomers_params(root, pictures.classes, domain, cell)
        begun = time.process_time()
        train_stage("train_baseline", root, params, method_name="supervised", model=layout.BASELINE)
        train_stage(
            "train_teacher", root, params, method_name=params.method.name, model=layout.TEACHER
        )
        cpu_s = time.process_time() - begun
        found = evaluate_split(root, params, "test")
        small = {}
        if cell.data == SURFACES:
            small["iou"] = found["teacher"][domain]["test"]["iou"]
            small["crack"] = cracks_found(root, params)
        chosen = params.model_dump(mode="json", include=set(in_blocks(dict.fromkeys(AUTO_KNOBS))))
        return {
            **{who: found[who][domain]["test"]["miou"] for who in ("teacher", "baseline")},
            "plain": plain(pictures, Path(folder) / "plain", rows, cpu_s, cell.seed),
            **small,
            "cpu_s": round(cpu_s),
            "contest": read_json(root / layout.TEACHER_TRAINING).get("contest"),
            "params": chosen,
        }


def _folder_of(data: Path, name: str) -> Path:
    if name != SURFACES:
        return data / name
    if not (DRAWN / "splits.csv").exists():  # written last
        shutil.rmtree(DRAWN, ignore_errors=True)
        surfaces.make_surfaces(DRAWN)
    return DRAWN


def cracks_found(root: Path, params: Params) -> dict[str, float | None]:
    """Recall and precision of the teacher's cracks on test, WITHIN_PX being near enough."""
    samples = [s for s in read_manifest(root / layout.MANIFEST) if s.split == "test"]
    near = Near(0, 0, 0, 0)
    teacher = load_model(root / layout.TEACHER)
    for seen in logits_and_masks(root, teacher, samples, params, "cracks"):
        strips = [logits_KRW.argmax(dim=0).cpu() for _, logits_KRW in seen.strips]
        predicted_HW = torch.cat(strips) == surfaces.CRACK
        truth_HW = seen.mask_HW == surfaces.CRACK
        near = near.plus(Near.counted(predicted_HW.numpy(), truth_HW.numpy(), WITHIN_PX))
    return {"recall": near.recall, "precision": near.precision}


def splits_of(data: Path, domain: str, block: int) -> dict[str, str]:
    """`id -> pool | val | test`: of the official train images, in their order, every fifth block
    of `block` is val."""
    with (data / "splits.csv").open(newline="") as file:
        known = [row for row in csv.DictReader(file) if row["domain"] == domain]
    train = sorted(row["id"] for row in known if row["split"] == "train")
    found = {row["id"]: "test" for row in known if row["split"] == "test"}
    return found | {
        stem: "val" if place // block % 5 == 2 else "pool" for place, stem in enumerate(train)
    }


def with_labels(rows: Mapping[str, str], count: int, seed: int) -> dict[str, str]:
    """`count` images of the pool, drawn uniformly by the seed, with labels."""
    pool = sorted(stem for stem, split in rows.items() if split == "pool")
    drawn = np.random.default_rng([seed, count]).choice(pool, size=count, replace=False)
    return {**rows, **dict.fromkeys(drawn.tolist(), "labelled")}


def newcomers_params(
    root: Path, classes: tuple[str, ...], domain: str, cell: DefaultsCell
) -> Params:
    """What `ssl-loop init` writes, planned."""
    blocks: dict[str, Any] = in_blocks(dict.fromkeys(AUTO_KNOBS, AUTO))
    blocks["train"]["seed"] = cell.seed
    known = {"classes": list(classes), "domain": domain, "domains": {domain: {}}}
    params = parse_params({**known, "profile": cell.profile, **blocks})
    facts = gather_facts(root, params, read_manifest(root / layout.MANIFEST))
    made = make_plan(facts, params, frozenset(PLANNED_KNOBS))
    return params.with_knobs(**in_blocks(made.values()))


def plain(
    pictures: CamVid, folder: Path, rows: Mapping[str, str], cpu_s: float, seed: int
) -> float:
    """mIoU of the script in a process of its own."""
    folder.mkdir()
    for name in ("images", "masks"):
        (folder / name).symlink_to((pictures.data / name).resolve())
    with (folder / "splits.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "split"), *rows.items()])
    options = {
        "--encoder": pictures.weights,
        "--classes": len(pictures.classes),
        "--cpu-minutes": cpu_s / 60,
        "--seed": seed,
    }
    words = [str(word) for pair in options.items() for word in pair]
    done = subprocess.run(
        [sys.executable, PLAIN, folder, *words], check=True, stdout=subprocess.PIPE, text=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found["miou"]


class CellKind(NamedTuple):
    """What the seeds of a cell have in common."""

    profile: str
    data: str
    labels: int


def report() -> str:
    """A row for each set and number of labels, of all cells that are kept."""
    cells: dict[CellKind, list[dict[str, Any]]] = {}
    for path in sorted((RESULTS / "defaults").glob("*.json")):
        data, labels, profile, *_ = path.stem.split("-")
        cells.setdefault(CellKind(profile, data, int(labels)), []).append(read_json(path))
    rows = [
        {
            "profile": profile,
            "set": data,
            "labels": labels,
            **{who: spread(run[who] for run in runs) for who in ("teacher", "baseline", "plain")},
            "teacher - plain": spread((run["teacher"] - run["plain"] for run in runs), sign=True),
            "probe kept": _kept(runs),
            "CPU minutes": f"{sum(run['cpu_s'] for run in runs) / 60 / len(runs):.1f}",
            "seeds": len(runs),
        }
        for (profile, data, labels), runs in sorted(cells.items())
    ]
    lines = [
        "# What a newcomer gets, beside a plain script",
        "",
        "`python -m benchmarks.defaults`: mIoU in points on the official test split, mean +- "
        "standard deviation over seeds; the script has the CPU time of our trainings. "
        f"{machine()}.",
        "",
        *table(rows),
        "",
        *_small_things(cells),
    ]
    return "\n".join(lines)


def _small_things(cells: Mapping[CellKind, list[dict[str, Any]]]) -> list[str]:
    """Of surfaces alone: the teacher's discs and cracks."""
    rows = [
        {
            "profile": profile,
            "labels": labels,
            **{f"IoU of {name}": spread(run["iou"][name] for run in runs) for name in SMALL},
            **{
                f"cracks within {WITHIN_PX} px, {what}": spread(
                    run["crack"][what] or 0.0 for run in runs
                )
                for what in ("recall", "precision")
            },
            "seeds": len(runs),
        }
        for (profile, data, labels), runs in sorted(cells.items())
        if data == SURFACES
    ]
    if not rows:
        return []
    return [
        f"Surfaces: discs are {surfaces.DISC_PX:g} pixels wide, cracks {surfaces.CRACK_PX:g}, in "
        f"{surfaces.WIDTH_PX}x{surfaces.HEIGHT_PX}. Wanted with 60 labels: discs 70, recall 80.",
        "",
        *table(rows),
        "",
    ]


def _kept(runs: list[dict[str, Any]]) -> str:
    """How often a probe was the model, of how many trainings."""
    probes = sum(
        run["params"]["model"]["name"] == "probe" or (run["contest"] or {}).get("kept") == "probe"
        for run in runs
    )
    return f"{probes} of {len(runs)}"


if __name__ == "__main__":
    main()
