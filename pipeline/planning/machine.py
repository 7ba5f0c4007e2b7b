"""What a plan must know of the machine: the device it trains on, its memory, the cores."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

import torch

from pipeline.runtime.torch_settings import usable_processors

Device = Literal["cpu", "cuda", "mps"]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where rounds are computed."""

    device: Device
    name: str
    memory_gib: float
    """Of the device: a GPU's own, else the machine's."""
    cores: int
    """That this process may use."""


def this_machine(wanted: str = "auto") -> Machine:
    """As `train.device` says; `auto` takes a GPU where there is one."""
    cores = usable_processors()
    if wanted in ("auto", "cuda") and torch.cuda.is_available():
        found = torch.cuda.get_device_properties(0)
        return Machine(
            device="cuda", name=found.name, memory_gib=found.total_memory / 2**30, cores=cores
        )
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    if wanted in ("auto", "mps") and torch.backends.mps.is_available():
        return Machine(device="mps", name="Apple GPU", memory_gib=memory_gib, cores=cores)
    return Machine(device="cpu", name="CPU", memory_gib=memory_gib, cores=cores)
