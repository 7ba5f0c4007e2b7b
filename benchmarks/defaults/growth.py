"""How a round's work grows with the images of a domain, step by step: what people wait for.

`python -m benchmarks.defaults.growth`: a workspace of 1,000, 3,000, 10,000 photographs of 32x32
pixels, of which 16 are labelled; a tiny network, so that what is measured is the work beside
the passes, and one pass an image. Every size is kept when it is done. CPU seconds of this process
and of the programs it starts, for which other work on the machine does not count. `exponent`: of
the number of images, between the smallest and the largest. Writes growth.md.
"""

from __future__ import annotations

import argparse
import math
import resource
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.support import RESULTS, machine, read_json, table
from flows.workspace.create import create_workspace
from flows.workspace.workspace import Workspace
from pipeline import layout
from pipeline.config.params import Params, load_params
from pipeline.data.formats.images import save_mask
from pipeline.files import sha256_file, write_json, write_text
from pipeline.records.manifest import Sample, read_manifest, write_manifest
from pipeline.runtime.progress import Progress
from pipeline.stages import acquire, embed, evaluate, predict
from pipeline.training import train_stage

SIZES = (1000, 3000, 10_000)
SIDE_PX, NUM_LABELLED, NUM_VAL, NUM_ANSWERED = 32, 16, 16, 8
CLASSES = ("ground", "thing", "sky")
KNOBS: Mapping[str, Mapping[str, Any]] = {
    "image": {"height_px": SIDE_PX, "width_px": SIDE_PX, "scale": 1.0},
    "model": {"name": "pspnet_mini", "encoder": "tu-test_efficientnet", "encoder_weights": None},
    "embed": {"encoder": "tu-test_efficientnet", "encoder_weights": None},
    "method": {"name": "supervised"},
    "train": {"steps": 10, "batch_labelled": 4, "device": "cpu"},
}


def main() -> None:
    """Measure what is missing, write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="images")
    sizes = parser.parse_args().sizes
    for number in sizes:
        kept = RESULTS / f"growth/{number}.json"
        if not kept.exists():
            with tempfile.TemporaryDirectory(prefix="ssl-loop-growth-") as folder:
                write_json(kept, {"images": number, "cpu_s": measure(Path(folder) / "w", number)})
        files = sorted((RESULTS / "growth").glob("*.json"))
        write_text(RESULTS / "growth.md", report([read_json(file) for file in files]))


def measure(root: Path, number: int) -> dict[str, float]:
    """CPU seconds of each step between the last answer of a round and the next query."""
    workspace = create_workspace(root, class_names=CLASSES, overrides=dict(KNOBS), planned=False)
    lay_out(root, number)
    workspace.write_params({"domain": "day", "domains": {"day": {}}})
    params = load_params(root / layout.PARAMS)
    workspace.dvc_add([layout.images_dir("day"), layout.masks_dir("day")])
    once = {"embed, once for a domain": partial(embed.run, root, params)}
    again: dict[str, Callable[[], object]] = {
        "masks of a query to DVC": partial(answer, root, workspace),
        "training, 10 steps": partial(train, "train_teacher", root, params),
        "evaluate": partial(evaluate.run, root, params),
        "predict": partial(predict.run, root, params),
        "acquire": partial(acquire.run, root, params),
        "what DVC finds changed": partial(workspace.dvc, "status"),
    }
    train("train_baseline", root, params.with_knobs(train={"steps": 1}))
    return {name: cpu_s(work) for name, work in (once | again).items()}


def lay_out(root: Path, number: int) -> None:
    """Photographs of noise with a square, the first labelled, the next for validation."""
    draw, samples = np.random.default_rng(0), []
    with Progress("lay out", number) as progress:
        for place in range(number):
            image_HWC = draw.integers(0, 120, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
            mask_HW = np.zeros((SIDE_PX, SIDE_PX), dtype=np.uint8)
            top, left = draw.integers(0, SIDE_PX // 2, 2)
            inside = np.s_[top : top + SIDE_PX // 2, left : left + SIDE_PX // 2]
            image_HWC[inside] += 100
            mask_HW[inside] = 1
            samples.append(_write(root, f"{place:06}", place, image_HWC, mask_HW))
            progress.advance()
    write_manifest(root / layout.MANIFEST, samples)


def _write(root: Path, stem: str, place: int, image_HWC: Any, mask_HW: Any) -> Sample:
    image = layout.images_dir("day") / f"{stem}.png"
    mask = layout.masks_dir("day") / f"{stem}.png"
    (root / image).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image_HWC).save(root / image, compress_level=1)
    labelled = place < NUM_LABELLED + NUM_VAL
    if labelled:
        save_mask(root / mask, mask_HW)
    return Sample(
        sample_id=f"day/{stem}",
        domain="day",
        split="val" if NUM_LABELLED <= place < NUM_LABELLED + NUM_VAL else "pool",
        image=image.as_posix(),
        image_sha256=sha256_file(root / image),
        mask=mask.as_posix() if labelled else "",
        mask_sha256=sha256_file(root / mask) if labelled else "",
        origin="ground_truth" if labelled else "",
    )


def answer(root: Path, workspace: Workspace) -> None:
    """As a merge does: some masks more, the manifest written anew, the folder given to DVC."""
    samples = read_manifest(root / layout.MANIFEST)
    for sample in samples[-NUM_ANSWERED:]:
        mask = layout.masks_dir("day") / Path(sample.image).name
        save_mask(root / mask, np.zeros((SIDE_PX, SIDE_PX), dtype=np.uint8))
    write_manifest(root / layout.MANIFEST, samples)
    workspace.dvc_add([layout.masks_dir("day")])


def train(stage: str, root: Path, params: Params) -> None:
    """From labels alone; evaluation asks for the baseline too."""
    model = layout.BASELINE if stage == "train_baseline" else layout.TEACHER
    train_stage(stage, root, params, method_name="supervised", model=model)


def cpu_s(work: Callable[[], object]) -> float:
    """Of this process, its threads, and what it starts and waits for."""

    def used() -> float:
        own = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(each.ru_utime + each.ru_stime for each in own)

    before = used()
    work()
    return round(used() - before, 3)


def report(found: list[dict[str, Any]]) -> str:
    """A row for each step, a column for each number of images."""
    found = sorted(found, key=lambda each: each["images"])
    rows = []
    for name in found[0]["cpu_s"]:
        first, last = (each["cpu_s"][name] for each in (found[0], found[-1]))
        row: dict[str, Any] = {"step": name}
        row |= {f"{each['images']:,} images, CPU s": each["cpu_s"][name] for each in found}
        if len(found) > 1:
            ratio = found[-1]["images"] / found[0]["images"]
            row["exponent"] = f"{math.log(max(last, 0.01) / max(first, 0.01), ratio):.2f}"
        rows.append(row)
    lines = [
        "# How a round grows with the images",
        "",
        f"`python -m benchmarks.defaults.growth`: photographs of {SIDE_PX}x{SIDE_PX} pixels, "
        f"{NUM_LABELLED} labelled, a tiny network: what is beside the passes, and one small pass "
        "an image. CPU seconds; exponent: of the number of images, from the fewest to the most, 1 "
        f"= in proportion. {machine()}.",
        "",
        *table(rows),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
