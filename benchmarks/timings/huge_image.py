"""Peak memory and seconds of one very large image on its way through a round.

`python -m benchmarks.timings.huge_image`: an image of 5,000, 10,000 and 20,000 pixels a side, as
PNG and as TIFF, among a handful of small labelled ones, with 11 classes and a small network: from
`domain add` over embedding, training, prediction and query to the task with its pre-annotation,
then the answer, its training and its judgement. Every stage runs in a process of its own: its
largest resident memory, imports among it, and the seconds of CPU that it took, which a busy machine
changes little. Last, the exponent of seconds in the image's area. Writes huge_image.{json,md}.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.support import RESULTS, machine, table
from pipeline import layout
from pipeline.backtest import take_in
from pipeline.config.params import Params, parse_params
from pipeline.data.formats.images import save_mask
from pipeline.data.ingest import validate_and_stage
from pipeline.data.known_images import KnownImages
from pipeline.data.synthetic.domains import CLASSES, DOMAINS, make_domain
from pipeline.data.synthetic.scene import draw_scene
from pipeline.files import sha256_file, write_json, write_text
from pipeline.records.manifest import read_manifest, with_mask, write_manifest
from pipeline.stages import STAGES as PIPELINE

SIDES = (5_000, 10_000, 20_000)
FORMATS = {"png": "PNG", "tif": "TIFF"}
LIMIT_MIB = 4096
UPSCALED = 10  # of the drawn scene: objects of hundreds of pixels
NOISE = 12  # grey levels: what a PNG of a photograph cannot pack away
ROWS = 500
HUGE = "day/huge"


def main() -> None:
    """Measure all sides and formats, or run one stage, which a measurement does."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sides", type=int, nargs="+", default=SIDES)
    parser.add_argument("--formats", nargs="+", default=[*FORMATS], choices=FORMATS)
    parser.add_argument("--classes", type=int, default=11)
    parser.add_argument("--folder", type=Path, help="where to work; by default the system's")
    parser.add_argument("--stage", nargs=3, metavar=("NAME", "SIDE", "FORMAT"), help="internal")
    args = parser.parse_args()
    if args.stage:
        name, side, form = args.stage
        if name in OF_PIPELINE:
            importlib.import_module(PIPELINE[OF_PIPELINE[name]])  # before the clock starts
        print(json.dumps(measured(STAGES[name], Case(args.folder, int(side), form, args.classes))))
        return
    rows: list[dict[str, Any]] = []
    for form in args.formats:
        for side in args.sides:
            with tempfile.TemporaryDirectory(dir=args.folder) as folder:
                for name in STAGES:
                    row = in_a_process(Path(folder), name, side, form, args.classes)
                    rows.append({"stage": name, "format": form, "side": side, **row})
                    print(rows[-1], flush=True)
                    write_json(RESULTS / "huge_image.json", rows)
                    write_text(RESULTS / "huge_image.md", report(rows, args.classes))


class Case:
    """One image in a workspace of its own."""

    def __init__(self, folder: Path, side: int, form: str, num_classes: int) -> None:
        """Nothing is made before a stage makes it."""
        self.side, self.form = side, form
        self.truth, self.incoming, self.root = (folder / n for n in ("truth", "incoming", "root"))
        self.classes = [*CLASSES, *(f"absent {k}" for k in range(num_classes - len(CLASSES)))]

    @property
    def params(self) -> Params:
        """Every pixel seen, in tiles of 256; the smallest network there is."""
        return parse_params(
            {
                "classes": self.classes,
                "domain": "day",
                "domains": {"day": {}},
                "image": {"height_px": 256, "width_px": 256, "scale": 1.0},
                "model": {"name": "pspnet_mini", "encoder": "tu-test_efficientnet"},
                "embed": {"encoder": "tu-test_efficientnet"},
                "train": {"steps": 20, "checkpoint_every_s": 1e9},
                "acquire": {"query_size": 1},
                "loop": {"max_megapixels": 500},
            }
        )


def in_a_process(folder: Path, name: str, side: int, form: str, num_classes: int) -> dict[str, Any]:
    """What `measured` says of a stage, or how it ended."""
    command = [sys.executable, "-m", "benchmarks.timings.huge_image", "--folder", str(folder)]
    command += ["--classes", str(num_classes), "--stage", name, str(side), form]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"ended with {done.returncode}"]
        return {"MiB": None, "seconds": None, "said": last[0][:120]}
    return {**json.loads(done.stdout.splitlines()[-1]), "said": ""}


def measured(stage: Callable[[Case], None], case: Case) -> dict[str, Any]:
    """Peak resident MiB of this process, and the seconds of CPU of the stage."""
    started = time.process_time()
    stage(case)
    seconds = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB on Linux
    return {"MiB": round(peak / 1024), "seconds": round(seconds, 1)}


def draw(case: Case) -> None:
    """The files that come in: a few labelled streets, and the large one without a mask."""
    make_domain(
        "day", case.truth, num_labelled=6, num_pool=1, num_val=2, height_px=256, width_px=256
    )
    rng = np.random.default_rng(0)
    small = case.side // UPSCALED
    scene_HWC, _ = draw_scene(DOMAINS["day"], rng, height_px=small, width_px=small)
    image = Image.fromarray(scene_HWC).resize((case.side, case.side), Image.Resampling.BICUBIC)
    pixels_HWC = np.array(image)
    del image
    for top in range(0, case.side, ROWS):
        rows_HWC = pixels_HWC[top : top + ROWS]
        noise_HWC = rng.integers(0, NOISE, rows_HWC.shape, dtype=np.uint8)
        pixels_HWC[top : top + ROWS] = np.minimum(rows_HWC, 255 - NOISE) + noise_HWC
    options = {"compress_level": 1} if case.form == "png" else {"compression": "tiff_lzw"}
    file = case.truth / "images" / f"huge.{case.form}"
    Image.fromarray(pixels_HWC).save(file, FORMATS[case.form], **options)
    with (case.truth / "splits.csv").open("a", encoding="utf-8") as splits:
        splits.write("huge,pool\n")


def add(case: Case) -> None:
    """As `ssl-loop domain add` checks and stages."""
    validate_and_stage(
        name="day",
        images=case.truth / "images",
        masks=case.truth / "masks",
        splits=case.truth / "splits.csv",
        classes=case.classes,
        existing_domains=(),
        destination=case.incoming,
        keep_all=True,
        accept=True,
        max_megapixels=case.params.loop.max_megapixels,
        known=KnownImages(case.root),
    )


def enter(case: Case) -> None:
    """As a tick takes it in."""
    take_in(case.root, case.incoming / "day")


def of_stage(name: str) -> Callable[[Case], None]:
    """A stage of the pipeline."""

    def stage(case: Case) -> None:
        importlib.import_module(PIPELINE[name]).run(case.root, case.params)

    return stage


def push(case: Case) -> None:
    """The task as Label Studio takes it, but for sending it."""
    from flows.annotators.annotator import PushItem
    from flows.annotators.label_studio_tasks import prepare

    (sample,) = [one for one in read_manifest(case.root / layout.MANIFEST) if is_huge(one)]
    mask = case.root / layout.sample_png(layout.PSEUDO_LABELS, sample.sample_id)
    item = PushItem(
        item_id=f"{sample.sample_id}/r0",
        sample_id=sample.sample_id,
        image=case.root / sample.image,
        image_sha256=sample.image_sha256,
        workspace_id="w",
        uncertainty=0.5,
        reason="first",
        pre_annotation_HW=np.asarray(Image.open(mask)),
    )
    (upload,) = prepare([item], case.classes, "day-r0")
    assert upload.num_bytes
    name, content = upload.file
    assert content
    write_json(case.root / "task.json", upload.task(f"/data/{name}"))


def answer(case: Case) -> None:
    """The answer as it is read back, unchanged, and merged as a label."""
    from flows.annotators.masks import read_annotation

    (prediction,) = json.loads((case.root / "task.json").read_text())["predictions"]
    result = prediction["result"]
    size = (case.side, case.side)
    found = read_annotation(result, result, case.classes, size=size)
    mask = layout.sample_png(layout.masks_dir("day"), "huge")
    save_mask(case.root / mask, found.mask_HW)
    del found
    manifest = case.root / layout.MANIFEST
    samples = [
        with_mask(one, mask=mask.as_posix(), sha256=sha256_file(case.root / mask), split="pool")
        if is_huge(one)
        else one
        for one in read_manifest(manifest)
    ]
    write_manifest(manifest, samples)


def judge(case: Case) -> None:
    """Evaluation with the large image among those of the val split, of one model."""
    shutil.copytree(case.root / layout.TEACHER, case.root / layout.BASELINE)
    manifest = case.root / layout.MANIFEST
    samples = [replace(o, split="val") if is_huge(o) else o for o in read_manifest(manifest)]
    write_manifest(manifest, samples)
    of_stage("evaluate")(case)


def is_huge(sample: Any) -> bool:
    """Whether it is the large image."""
    return bool(sample.sample_id == HUGE)


OF_PIPELINE = {
    "embed": "embed",
    "train": "train_teacher",
    "predict": "predict",
    "acquire": "acquire",
    "train with it": "train_teacher",
    "evaluate with it": "evaluate",
}
STAGES: dict[str, Callable[[Case], None]] = {
    "draw": draw,
    "domain add": add,
    "take in": enter,
    "embed": of_stage("embed"),
    "train": of_stage("train_teacher"),
    "predict": of_stage("predict"),
    "acquire": of_stage("acquire"),
    "push": push,
    "answer": answer,
    "train with it": of_stage("train_teacher"),
    "evaluate with it": judge,
}
"""In the order of a round; `draw` is no part of one."""


def report(rows: list[dict[str, Any]], num_classes: int) -> str:
    """The page: a table for each format, with the exponent in the area."""
    sides = sorted({row["side"] for row in rows})
    lines = [
        "# One very large image through a round",
        "",
        f"`python -m benchmarks.timings.huge_image`: {num_classes} classes, tiles of 256 pixels at "
        f"scale 1, pspnet_mini on the smallest encoder. {machine()}. Every stage in a process of "
        f"its own, its imports among the memory; the bar is {LIMIT_MIB:,} MiB. Seconds: the CPU's. "
        "The exponent is theirs in the image's area, from the two largest images: 1 = linear; a "
        "stage of less than five seconds has none. No figure: the stage was not run, or it failed.",
    ]
    for form in dict.fromkeys(row["format"] for row in rows):
        of_form = {(r["stage"], r["side"]): r for r in rows if r["format"] == form}
        shown = []
        for name in [stage for stage in STAGES if stage != "draw"]:
            found = [of_form.get((name, side), {}) for side in sides]
            cells: dict[str, Any] = {"stage": name}
            for side, row in zip(sides, found, strict=True):
                cells[f"{side:,} x {side:,}: MiB"] = row.get("MiB")
                cells[f"{side:,} x {side:,}: s"] = row.get("seconds")
            shown.append({**cells, "exponent": exponent([row for row in found if row])})
        lines += ["", f"## {FORMATS[form]}", "", *table(shown)]
    return "\n".join([*lines, ""])


def exponent(rows: list[dict[str, Any]]) -> float | None:
    """Of seconds in the area; None where it cannot be told."""
    timed = [(row["side"] ** 2, row["seconds"]) for row in rows if row["seconds"]][-2:]
    if len(timed) < 2 or timed[0][1] < 5:
        return None
    (small, before), (large, after) = timed
    return math.log(after / before) / math.log(large / small)


if __name__ == "__main__":
    main()
