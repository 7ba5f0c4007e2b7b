"""What a model costs at one size: parameters, operations, and milliseconds per image.

H height, W width, K classes.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from pipeline.config.params import ModelParams
from pipeline.errors import ModelError
from pipeline.models.build import MODELS, build_model
from pipeline.models.segmenter import Segmenter

OWN = "(own)"
WARM_UPS = 2
MIN_RUNS, MAX_RUNS = 5, 50
MEASURED_S = 1.0  # of timed runs per model and device, within MIN_RUNS and MAX_RUNS


@dataclass(frozen=True, kw_only=True)
class Cost:
    """One model, one image at a time."""

    model: str
    encoder: str
    """Which it was measured with; OWN where the model has one of its own."""
    parameters: int
    """Of prediction: auxiliary heads, which only training sees, are not counted."""
    flops: int
    """A multiplication and an addition count two, as torch counts them."""
    latency_ms: dict[str, float]
    """Median by device: cpu, and cuda where there is one."""
    fps: float
    """The frame rate asked for."""

    @property
    def keeps_up(self) -> dict[str, bool]:
        """By device: whether one image takes no longer than one frame."""
        return {device: ms * self.fps <= 1000 for device, ms in self.latency_ms.items()}

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**asdict(self), "keeps_up": self.keeps_up}


def measure(
    name: str, params: ModelParams, *, size: tuple[int, int], num_classes: int, fps: float
) -> Cost:
    """The cost of the row `name` of MODELS for images of `size` (H, W).

    With the encoder of `params` where it fits, else the row's own choice; weights are random, and
    the values of the logits do not matter to the cost. ModelError for an unknown name.
    """
    network, encoder = _network(name, params, num_classes)
    parameters = sum(p.numel() for p in network.parameters())
    if network.auxiliary is not None:
        parameters -= sum(p.numel() for p in network.auxiliary.parameters())
    image_BCHW = torch.zeros(1, 3, *size)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(image_BCHW)
    latency_ms = {
        device.type: _latency_ms(network.to(device), image_BCHW.to(device)) for device in _devices()
    }
    return Cost(
        model=name,
        encoder=encoder,
        parameters=parameters,
        flops=counter.get_total_flops(),
        latency_ms=latency_ms,
        fps=fps,
    )


def _network(name: str, params: ModelParams, num_classes: int) -> tuple[Segmenter, str]:
    """A network in eval mode and the encoder it was built on."""
    if name not in MODELS:
        raise ModelError(f"{name!r}: unknown model; known: {', '.join(MODELS)}")
    fallback = MODELS[name].encoder
    tries = [params] if name == params.name else []
    if fallback is not None:
        options = params.encoder_options
        tries.append(ModelParams(name=name, encoder=params.encoder, encoder_options=options))
    tries.append(ModelParams(name=name, encoder=fallback or params.encoder))
    for number, chosen in enumerate(tries):
        try:
            network = build_model(chosen, num_classes, pretrained=False).eval()
        except ModelError:
            if number + 1 == len(tries):
                raise
        else:
            return network, OWN if fallback is None else chosen.encoder
    raise AssertionError("the last try returns or raises")


def _devices() -> Iterator[torch.device]:
    yield torch.device("cpu")
    if torch.cuda.is_available():
        yield torch.device("cuda")


def _latency_ms(network: nn.Module, image_BCHW: Tensor) -> float:
    """Median over runs, in milliseconds."""
    wait: Callable[[], None] = (
        torch.cuda.synchronize if image_BCHW.device.type == "cuda" else lambda: None
    )
    found: list[float] = []
    begun = time.perf_counter()
    with torch.inference_mode():
        for run in range(WARM_UPS + MAX_RUNS):
            if run == WARM_UPS:
                begun = time.perf_counter()
            started = time.perf_counter()
            network(image_BCHW)
            wait()
            ended = time.perf_counter()
            if run >= WARM_UPS:
                found.append(1000 * (ended - started))
            if len(found) >= MIN_RUNS and ended - begun > MEASURED_S:
                break
    return statistics.median(found)
