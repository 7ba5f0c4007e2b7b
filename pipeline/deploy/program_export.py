"""A trained network as a program of torch.export, for images of any size its stride divides.

B images, C channels, K classes, H height, W width.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from pipeline.data.augment import normalise
from pipeline.data.dataset import read_image
from pipeline.errors import ModelError
from pipeline.files import replacing
from pipeline.inference.onnx_export import (
    Agreement,
    Floats,
    agreement,
    facts_of,
    tile_input,
)
from pipeline.models import LoadedModel, load_model
from pipeline.types import STRIDE_PX

Ask = Callable[[Tensor], Floats]
"""images_1CHW to logits_1KHW."""
LARGEST = 128  # of strides, along each side: 4096 pixels, as of a tile


def export_program(folder: Path, file: Path, images: Sequence[Path]) -> str:
    """Write the model of `folder` to `file`; a line that says how well it agrees with torch.

    `torch.export.load(file).module()` takes 1xCxHxW, normalised as its extra file model.json says,
    and gives logits of 1xKxHxW. Compared are the tiles in the middles of `images`, and the whole
    images at a size that the program was not made at. ModelError where the model is untrained,
    cannot be exported, or differs; the file that was there stays.
    """
    model = load_model(folder)
    network = model.network
    if network is None:
        raise ModelError(f"{folder}: not trained ({model.config['why']}); nothing to export")
    tiles = [tile_input(path, model) for path in images]
    wide = [_at_another_size(path, model) for path in images]
    program, any_size = _program(network, tiles[0])
    facts = json.dumps(facts_of(model))
    with replacing(file) as beside:
        torch.export.save(program, beside, extra_files={"model.json": facts})
        loaded = torch.export.load(beside).module()
        said = [compared(network, lambda x_BCHW: loaded(x_BCHW).numpy(), tiles)]
        if any_size:
            said.append(compared(network, lambda x_BCHW: loaded(x_BCHW).numpy(), wide))
        require_good(said, folder, file)
    height, width = tiles[0].shape[-2:]
    sizes = f"sides of any multiple of {STRIDE_PX}" if any_size else f"{height}x{width} alone"
    return (
        f"{file}: {file.stat().st_size / 2**20:.1f} MiB, {sizes}; on {len(images)} images "
        f"{' and at another size '.join(map(str, said))}"
    )


def compared(network: nn.Module, ask: Ask, inputs: Sequence[Tensor]) -> Agreement:
    """How far what `ask` says is from the network, over all inputs of one size."""
    with torch.no_grad():
        expected = np.concatenate([network(x_BCHW).numpy() for x_BCHW in inputs])
        found = np.concatenate([ask(x_BCHW) for x_BCHW in inputs])
    return agreement(expected, found)


def require_good(found: Sequence[Agreement], folder: Path, file: Path) -> None:
    """ModelError unless all agree within the limits that ONNX has."""
    if bad := [each for each in found if not each.good]:
        raise ModelError(
            f"{folder}: the export and torch disagree: {bad[0]}; {file} is not written"
        )


def _at_another_size(path: Path, model: LoadedModel) -> Tensor:
    height, width = (side + 2 * STRIDE_PX for side in model.image.crop_size)
    return normalise(read_image(path, (height, width)), model.config["normalisation"])[None]


class _Program(NamedTuple):
    """What torch.export made."""

    exported: ExportedProgram
    any_size: bool
    """Whether it takes other sizes than the one it was made at."""


def _program(network: nn.Module, input_1CHW: Tensor) -> _Program:
    """For open sizes where the network can be traced so, else for this one."""
    rows, columns = (STRIDE_PX * Dim(name, min=1, max=LARGEST) for name in ("rows", "columns"))
    tries = [(True, ({2: rows, 3: columns},)), (False, None)]
    # Padding that is computed from the size: the tracer reasons about it for minutes.
    if any(type(layer).__name__.endswith("2dSame") for layer in network.modules()):
        del tries[0]
    for any_size, shapes in tries:
        try:
            program = torch.export.export(network, (input_1CHW,), dynamic_shapes=shapes)
        except Exception as error:  # the tracer raises whatever a network makes it run into
            why = " ".join(str(error).split())[:300]
        else:
            return _Program(program, any_size)
    raise ModelError(f"the model cannot be written as a program of torch.export: {why}")
