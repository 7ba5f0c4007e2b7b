"""What a step of a training costs on this machine, by taking some."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.config.params import Params
from pipeline.inference.tiles import BATCH
from pipeline.methods import Batch, MethodSetup, StrongView, Unlabelled, build_method
from pipeline.methods.shared.losses import labelled_loss
from pipeline.models import build_model
from pipeline.models.probe import CELL_PX, Probe
from pipeline.models.segmenter import Segmenter
from pipeline.planning.machine import Device
from pipeline.training.probes.probe_choice import PROBE
from pipeline.training.probes.probe_training import BATCH_CELLS, HeadTraining, train_head

WARM_UPS, COUNTED = 1, 3
HELD_PER_WEIGHT = 5  # the student's weight, its gradient, AdamW's two moments, the teacher's weight
PROBE_STEPS = 10  # of a head: one is too short to time
PLANNED_STEPS = 1000  # methods ask for a number; what a step costs does not hang on it


@dataclass(frozen=True, kw_only=True)
class TrainingCost:
    """Of one training and of what follows it; augmentation comes on top where it does not fit in
    beside the step."""

    step_s: float
    """The method's step: all passes, losses, optimiser, teacher."""
    supervised_step_s: float
    """A step of the baseline."""
    memory_mib: float
    """Weights and what they need, and the activations kept for the gradient."""
    megapixel_s: float
    """A million pixels seen in prediction."""


def measure_training(params: Params, device: Device) -> TrainingCost:
    """Take a few steps of `params` on random pixels, with random weights.

    ModelError where the network cannot be built.
    """
    place = torch.device(device)
    if params.model.name == PROBE and params.method.name == "supervised":
        return _probe_cost(params, place)
    whole = _Trial(params, place)
    plain = _Trial(params.with_method("supervised"), place)
    memory_mib = whole.memory_mib()
    return TrainingCost(
        step_s=_median_s(whole.step, place),
        supervised_step_s=_median_s(plain.step, place),
        memory_mib=memory_mib,
        megapixel_s=_prediction_s(params, place),
    )


def _probe_cost(params: Params, device: torch.device) -> TrainingCost:
    """Steps of a head on random cells; the encoder is asked once, as in prediction."""
    network = build_model(params.model, params.num_classes, pretrained=False)
    assert isinstance(network, Probe)
    cells_MD = torch.randn(BATCH_CELLS, network.decoder.projection_CD.shape[1])
    classes_MS = torch.zeros(BATCH_CELLS, network.head.parts**2, dtype=torch.uint8)
    how = HeadTraining(steps=PROBE_STEPS, learning_rate=1e-6, weight_decay=0.0)
    step_s = (
        _median_s(lambda: train_head(network.cell_head(), cells_MD, classes_MS, how), device)
        / PROBE_STEPS
    )
    height, width = params.image.crop_size
    maps = len(network.decoder.mean_C) * height * width // CELL_PX**2
    weights = sum(each.numel() for each in network.state_dict().values())
    return TrainingCost(
        step_s=step_s,
        supervised_step_s=step_s,
        memory_mib=4 * (weights + BATCH * maps) / 2**20,
        megapixel_s=_prediction_s(params, device),
    )


class _Trial:
    """A method on one batch of random pixels, over and over."""

    def __init__(self, params: Params, device: torch.device) -> None:
        self._method: Any = _method(params).to(device)
        self._learning = [p for p in self._method.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(self._learning, lr=1e-6)
        self._batch = _batch(self._method.num_strong_views, params, device)
        self._half = torch.autocast(
            device.type, torch.bfloat16, enabled=params.train.precision == "bf16-mixed"
        )

    def step(self) -> None:
        with self._half:
            loss = torch.stack(list(self._method(self._batch, 0).terms.values())).sum()
        self._optimizer.zero_grad()
        torch.autograd.backward(loss)
        self._optimizer.step()
        self._method.after_step(0)

    def memory_mib(self) -> float:
        """Weights, what the optimiser and the teacher keep of them, and a step's activations."""
        kept_bytes = 0

        def pack(tensor: Tensor) -> Tensor:
            nonlocal kept_bytes
            kept_bytes += tensor.numel() * tensor.element_size()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            self.step()
        held = sum(p.numel() * p.element_size() for p in self._learning)
        return (kept_bytes + HELD_PER_WEIGHT * held) / 2**20


def _method(params: Params) -> Any:
    def new_network(number: int) -> Segmenter:
        return build_model(params.model, params.num_classes, pretrained=False)

    setup = MethodSetup(
        params=params.method,
        num_classes=params.num_classes,
        num_steps=PLANNED_STEPS,
        new_network=new_network,
        labelled_loss=labelled_loss,
        unlabelled=_BatchAlone(params.train.batch_unlabelled),
    )
    method: Any = build_method(params.method.name, setup)
    return method.train()


class _BatchAlone:
    """The set is the batch, to methods that remember images; those that go over it find nothing."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(())


def _batch(num_strong_views: int, params: Params, device: torch.device) -> Batch:
    height, width = params.image.crop_size
    draw = torch.Generator().manual_seed(0)

    def images(count: int) -> Tensor:
        return torch.randn(count, 3, height, width, generator=draw).to(
            device, memory_format=torch.channels_last
        )

    count = params.train.batch_labelled
    masks_BHW = torch.randint(params.num_classes, (count, height, width), generator=draw).to(device)
    if not num_strong_views:
        return Batch(images(count), masks_BHW, None)
    other = params.train.batch_unlabelled
    boxes_BHW = torch.zeros(other, height, width, dtype=torch.bool, device=device)
    boxes_BHW[:, : height // 2, : width // 2] = True
    strong = tuple(StrongView(images(other), boxes_BHW) for _ in range(num_strong_views))
    unlabelled = Unlabelled(
        torch.arange(other, device=device), images(other), torch.ones_like(boxes_BHW), strong
    )
    return Batch(images(count), masks_BHW, unlabelled)


def _prediction_s(params: Params, device: torch.device) -> float:
    network = build_model(params.model, params.num_classes, pretrained=False).to(device).eval()
    height, width = params.image.crop_size
    tiles_BCHW = torch.randn(2, 3, height, width, device=device)
    with torch.inference_mode():
        seconds = _median_s(lambda: network(tiles_BCHW), device)
    return seconds * 1e6 / (2 * height * width)


def _median_s(act: Callable[[], object], device: torch.device) -> float:
    times = []
    for _ in range(WARM_UPS + COUNTED):
        begun = time.perf_counter()
        act()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    return statistics.median(times[WARM_UPS:])
