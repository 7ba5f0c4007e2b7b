"""Whether this machine has the device that `train.device` names. Imports torch only to look."""

from __future__ import annotations

from pipeline.config.params import TrainParams
from pipeline.errors import ConfigError
from pipeline.runtime.torch_settings import settle_torch

ANYWHERE = ("auto", "cpu")


def require_device(train: TrainParams) -> None:
    """ConfigError naming the knob where the device is not here, or too few of them are."""
    if why := missing_device(train):
        raise ConfigError(why)


def missing_device(train: TrainParams) -> str:
    """In words with the remedy; "" where all is there."""
    if train.device in ANYWHERE:
        return ""
    found = _count(train.device)
    if not found:
        return (
            f"train.device = {train.device!r}: this machine has none that PyTorch can use; say "
            "auto or cpu in params.yaml, mend the driver, or run where there is one"
        )
    if train.num_devices > found:
        return (
            f"train.num_devices = {train.num_devices}: this machine has {found} of "
            f"train.device = {train.device!r}; say so many or fewer in params.yaml"
        )
    return ""


def _count(device: str) -> int:
    settle_torch()
    import torch

    if device == "cuda":
        return torch.cuda.device_count()
    return int(torch.backends.mps.is_available())
