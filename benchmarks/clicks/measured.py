"""The parts of the benchmark. N things, R clicks."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
from numpy.typing import NDArray
from PIL import Image

from benchmarks.clicks.seconds import clicked, outlined
from benchmarks.clicks.teachers import asked_samples, camvid_workspace, synthetic_workspace
from pipeline import layout
from pipeline.clicks.marks import Click
from pipeline.clicks.mask_engine import MaskEngine
from pipeline.clicks.simulated_clicker import TrueThing, iou, next_click, things_of
from pipeline.clicks.teacher_engine import TeacherEngine
from pipeline.config.params import Params
from pipeline.data.formats.images import load_image, load_mask
from pipeline.data.synthetic.canvas import CAR
from pipeline.runtime.progress import Progress
from pipeline.types import IGNORE

CLICKS = 5
NUM_TIMED = 2  # images whose seconds are counted
LARGEST = 3  # things of a class in an image
FITTED_EVERY = 5  # the images 0, 5, 10, ... of those asked for were fitted to: left out
SPEED_IMAGES, SPEED_CLICKS = 2, 20
SIZES = {"360x480": (360, 480), "1080x1920": (1080, 1920)}


class ClickCase(NamedTuple):
    """One thing in one image."""

    image: Path
    truth_HW: NDArray[np.uint8]
    thing: TrueThing


def measured_quality(data: Path, work: Path) -> dict[str, Any]:
    """Mean IoU of things after each click."""
    found = {}
    for name, num_images, least_px in (("synthetic", 4, 60), ("camvid", 2, 300)):
        root, params = _workspace(name, data, work)
        cases = list(_cases(root, params, num_images, least_px))
        engine = TeacherEngine(root, params)
        rows_NR = np.array(_clicked_through(engine, cases, f"{name}, teacher"))
        found[name] = {
            "things": len(cases),
            "images": num_images,
            "iou": rows_NR.mean(0).round(4).tolist(),
            "median": np.median(rows_NR, axis=0).round(4).tolist(),
        }
    return found


def measured_cars(data: Path, work: Path) -> dict[str, Any]:
    """One click on each car of synthetic streets, of 2 and of 12 labels."""
    found = {}
    for num_labelled in (2, 12):
        root = work / f"synthetic-{num_labelled}"
        params = synthetic_workspace(root, num_labelled)
        engine = TeacherEngine(root, params)
        cases = [case for case in _cases(root, params, 30, 150) if case.thing.class_index == CAR]
        rows = [row[0] for row in _clicked_through(engine, cases, f"cars, {num_labelled}", 1)]
        found[str(num_labelled)] = {
            "cars": len(rows),
            "mean": round(statistics.fmean(rows), 4),
            "median": round(statistics.median(rows), 4),
            "best": round(max(rows), 4),
            "above": sum(row > 0.8 for row in rows),
        }
    return found


def measured_seconds(data: Path, work: Path) -> dict[str, Any]:
    """Acts of both hands, image by image."""
    root, params = _workspace("camvid", data, work)
    engine = TeacherEngine(root, params)
    rows = []
    samples = _fresh(root)[::16][:NUM_TIMED]
    with Progress("seconds", len(samples)) as progress:
        for sample in samples:
            truth_HW = load_mask(root / sample.mask, params.num_classes)
            masking = partial(engine.mask, root / sample.image)
            rows.append(
                {
                    "outlined": asdict(outlined(truth_HW, params.num_classes)),
                    "clicked": asdict(clicked(truth_HW, params.num_classes, masking)),
                }
            )
            progress.advance()
    return {"images": rows}


def measured_speed(data: Path, work: Path) -> dict[str, Any]:
    """CPU and clock seconds of preparing, of first and of later clicks; memory at the end.

    A first click reads what was prepared from the disk: the engine holds one image in memory, and
    the images take turns.
    """
    root, params = _workspace("camvid", data, work)
    shutil.rmtree(root / layout.CLICKS, ignore_errors=True)  # so that everything is prepared here
    found: dict[str, Any] = {}
    for name, size in SIZES.items():
        images = _enlarged(_fresh(root)[:SPEED_IMAGES], root, size, work / f"speed-{name}")
        engine = TeacherEngine(root, params, cache_mib=0)
        times: dict[str, list[_Spent]] = {"prepare": [], "first click": [], "later click": []}
        for image in images:
            times["prepare"].append(_spent(partial(engine.prepare, image)))
        for turn in range(SPEED_CLICKS // SPEED_IMAGES):
            for image in images:
                first = [Click(size[0] * (0.5 + turn / 30), size[1] * 0.5)]
                later = [*first, Click(size[0] * 0.2, size[1] * 0.5, positive=False)]
                for kind, marks in (("first click", first), ("later click", later)):
                    times[kind].append(
                        _spent(partial(engine.mask, image, marks, turn % params.num_classes))
                    )
        found[name] = {
            kind: {
                "times": len(rows),
                "cpu_s": round(statistics.median(each.cpu_s for each in rows), 4),
                "least_clock_s": round(min(each.clock_s for each in rows), 4),
            }
            for kind, rows in times.items()
        }
    found["memory_mib"] = round(psutil.Process().memory_info().rss / 2**20)
    return found


class _Spent(NamedTuple):
    cpu_s: float
    clock_s: float


def _spent(work: Callable[[], object]) -> _Spent:
    cpu, clock = time.process_time(), time.perf_counter()
    work()
    return _Spent(time.process_time() - cpu, time.perf_counter() - clock)


def _enlarged(
    samples: Sequence[Any], root: Path, size: tuple[int, int], folder: Path
) -> list[Path]:
    """Images of `size` under `folder`, as JPEG."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for number, sample in enumerate(samples):
        made.append(folder / f"{number:02d}.jpg")
        pixels = Image.fromarray(load_image(root / sample.image))
        pixels.resize(size[::-1], Image.Resampling.BICUBIC).save(made[-1], quality=92)
    return made


def _workspace(name: str, data: Path, work: Path) -> tuple[Path, Params]:
    root = work / f"{name}-12"
    if name == "camvid":
        return root, camvid_workspace(data, root)
    return root, synthetic_workspace(root)


def _fresh(root: Path) -> list[Any]:
    """Samples that neither teacher nor weights were fitted to."""
    return [s for number, s in enumerate(asked_samples(root)) if number % FITTED_EVERY]


def _cases(root: Path, params: Params, num_images: int, least_px: int) -> Iterator[ClickCase]:
    samples = _fresh(root)
    for sample in samples[:: max(1, len(samples) // num_images)][:num_images]:
        truth_HW = load_mask(root / sample.mask, params.num_classes)
        for index in range(params.num_classes):
            for thing in things_of(truth_HW, index, least_px)[:LARGEST]:
                yield ClickCase(root / sample.image, truth_HW, thing)


def _clicked_through(
    engine: MaskEngine, cases: Sequence[ClickCase], label: str, clicks: int = CLICKS
) -> list[list[float]]:
    """IoU after 1 to `clicks` clicks, thing by thing."""
    rows = []
    with Progress(label, len(cases)) as progress:
        for image, truth_HW, thing in cases:
            known_HW = truth_HW != IGNORE
            mask_HW, marks, row = np.zeros_like(known_HW), list[Click](), list[float]()
            for _ in range(clicks):
                click = next_click(mask_HW, thing.area_HW, known_HW)
                if click is not None:
                    marks.append(click)
                    mask_HW = engine.mask(image, marks, thing.class_index)
                row.append(iou(mask_HW, thing.area_HW, known_HW))
            rows.append(row)
            progress.advance()
    return rows
