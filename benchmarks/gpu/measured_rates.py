"""Steps and predictions a second, each beside bare passes of the same network in one process.

B images, C channels, H height, W width.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gpu.pieces import Scale
from benchmarks.timings.step_cost import lay_out, passes
from pipeline import layout
from pipeline.config.params import Params, parse_params
from pipeline.data.formats.images import image_size
from pipeline.data.synthetic.domains import CLASSES
from pipeline.inference.tiles import BATCH, starts
from pipeline.models import build_model, load_model
from pipeline.records.manifest import read_manifest, write_manifest
from pipeline.stages import predict
from pipeline.training import train_stage

NUM_LABELLED = 16
NUM_CLASSES = 11  # as in street scenes: losses, softmax and scores cost by the class
NUM_REPEATS = 3  # of bare passes, before and after
# Image and tile, images to predict, steps that are counted after as many as a start takes.
SIZES: Mapping[Scale, Mapping[str, Any]] = {
    "full": {
        "image": (512, 896),
        "tile": (512, 512),
        "images": 160,
        "steps": (50, 350),
        "batch": 8,
    },
    "small": {"image": (128, 224), "tile": (128, 128), "images": 24, "steps": (4, 24), "batch": 4},
}


def measured_rates(method: str, device: str, scale: Scale) -> dict[str, Any]:
    """What a training's step and a predicted image take, and the bare passes in them, in seconds.

    On a GPU by the clock; on a CPU by the seconds its cores worked, for which other programs do
    not count.
    """
    sizes = SIZES[scale]
    params = rates_params(method, device, scale)
    timed = _Clock(device)
    with tempfile.TemporaryDirectory() as folder:
        height, width = sizes["image"]
        num_pool = sizes["images"] - NUM_LABELLED
        root = lay_out(Path(folder), height, width, num_labelled=NUM_LABELLED, num_pool=num_pool)
        network = build_model(params.model, params.num_classes).to(device).train()
        step = _Bare(network, params).step
        bare_s = [timed.median(step)]
        fewer, all_steps = (
            timed.once(partial(_train, root, params, steps)) for steps in sizes["steps"]
        )
        bare_s.append(timed.median(step))
        step_s = (all_steps - fewer) / (sizes["steps"][1] - sizes["steps"][0])
        image_s, bare_image_s = _predicted(root, params, timed)
    return {
        "kind": "rates",
        "method": method,
        "image": "x".join(map(str, sizes["image"])),
        "tile": "x".join(map(str, sizes["tile"])),
        "batch": sizes["batch"],
        "step_s": step_s,
        "bare_step_s": statistics.fmean(bare_s),
        "image_s": image_s,
        "bare_image_s": bare_image_s,
    }


def rates_params(method: str, device: str, scale: Scale) -> Params:
    """DeepLabV3+ on MobileNetV2, random weights: they cost as much."""
    sizes = SIZES[scale]
    absent = [f"absent {number}" for number in range(NUM_CLASSES - len(CLASSES))]
    return parse_params(
        {
            "classes": [*CLASSES, *absent],
            "domain": "day",
            "domains": {"day": {}},
            "image": {"height_px": sizes["tile"][0], "width_px": sizes["tile"][1], "scale": 1.0},
            "model": {"name": "deeplabv3plus", "encoder": "tu-mobilenetv2_100"},
            "method": {"name": method},
            "train": {
                "device": device,
                "precision": "bf16-mixed" if device == "cuda" else "32-true",
                "batch_labelled": sizes["batch"],
                "batch_unlabelled": sizes["batch"],
                "monitor_share": 0.0,
                "checkpoint_every_s": 3600.0,
            },
        }
    )


class _Clock:
    """Seconds on a device."""

    def __init__(self, device: str) -> None:
        self._cuda = device == "cuda"

    def once(self, work: Callable[[], object]) -> float:
        started = self._now()
        work()
        return self._now() - started

    def median(self, work: Callable[[], object]) -> float:
        """Of NUM_REPEATS after one that is not counted."""
        return statistics.median([self.once(work) for _ in range(NUM_REPEATS + 1)][1:])

    def _now(self) -> float:
        if not self._cuda:
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()


class _Bare:
    """The passes that no training of this method can do without."""

    def __init__(self, network: nn.Module, params: Params) -> None:
        self._network = network.to(memory_format=torch.channels_last)
        self._unlabelled = params.method.name != "supervised"
        device = next(network.parameters()).device
        shape = (params.train.batch_labelled, 3, *params.image.crop_size)
        self._images_BCHW = _random_images(shape, device)
        self._half = torch.autocast(
            device.type, torch.bfloat16, enabled=params.train.precision == "bf16-mixed"
        )

    def step(self) -> None:
        """Labelled images forward and backward; unlabelled ones forward, and a strong view."""
        with self._half:
            passes(self._network, self._images_BCHW)
            if self._unlabelled:
                with torch.no_grad():
                    self._network(self._images_BCHW)
                passes(self._network, self._images_BCHW)
        self._network.zero_grad()


def _train(root: Path, params: Params, steps: int) -> None:
    params = params.with_knobs(train={"steps": steps})
    train_stage("train_teacher", root, params, method_name=params.method.name, model=layout.TEACHER)


def _predicted(root: Path, params: Params, timed: _Clock) -> tuple[float, float]:
    """Seconds of the stage `predict` for an image, and of bare passes over its tiles."""
    samples = read_manifest(root / layout.MANIFEST)
    few = samples[: len(samples) // 4]
    seconds = []
    for some in (few, samples):
        write_manifest(root / layout.MANIFEST, some)
        seconds.append(timed.once(partial(predict.run, root, params)))
    image_s = (seconds[1] - seconds[0]) / (len(samples) - len(few))
    network = load_model(root / layout.TEACHER).network
    assert network is not None  # just trained
    device = torch.device(params.train.device)
    network = network.to(device).eval()
    tiles_BCHW = _random_images((BATCH, 3, *params.image.crop_size), device)
    with torch.inference_mode():
        batch_s = timed.median(lambda: network(tiles_BCHW))
    return image_s, batch_s / BATCH * _tiles_of_an_image(root, params)


def _tiles_of_an_image(root: Path, params: Params) -> int:
    size = image_size(root / read_manifest(root / layout.MANIFEST)[0].image)
    counts = [
        len(starts(side, tile)) for side, tile in zip(size, params.image.crop_size, strict=True)
    ]
    return counts[0] * counts[1]


def _random_images(shape: tuple[int, ...], device: torch.device) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    images = torch.randn(shape, generator=draw)
    return images.to(device, memory_format=torch.channels_last)
