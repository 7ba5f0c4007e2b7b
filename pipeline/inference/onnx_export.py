"""A trained network as ONNX, refused where onnxruntime does not say what torch says.

B images, C channels, K classes, H height, W width.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline import layout
from pipeline.data.augment import NORMALISATIONS, middle_view, normalise
from pipeline.data.dataset import read_seen
from pipeline.errors import DataError, ModelError
from pipeline.files import replacing
from pipeline.models import LoadedModel, load_model
from pipeline.records.manifest import read_manifest

NUM_IMAGES = 8
MAX_DIFFERENCE = 1e-3  # of any logit
TIE = 2e-3  # where the top two logits are closer, either class may win: twice MAX_DIFFERENCE
Floats = NDArray[np.float32]


class Agreement(NamedTuple):
    """How far onnxruntime is from torch over all images."""

    max_difference: float
    pixels_changed: int
    """Another class, where torch's top two logits are at least TIE apart."""
    num_pixels: int

    @property
    def good(self) -> bool:
        """Within the limits; False for NaN."""
        return self.max_difference <= MAX_DIFFERENCE and self.pixels_changed == 0

    def __str__(self) -> str:
        """The numbers beside their limits."""
        return (
            f"logits differ by at most {self.max_difference:.2g} (limit {MAX_DIFFERENCE:g}), "
            f"{self.pixels_changed} of {self.num_pixels} pixels change their class (limit 0)"
        )


def export_onnx(folder: Path, file: Path, images: Sequence[Path]) -> str:
    """Write the model of `folder` to `file`; a line that says how well it agrees.

    The input `images` is 1xCxHxW, normalised as the file's metadata say; the output is `logits`;
    `pipeline.inference.onnx_predict` makes masks of whole images of it.
    H and W are those of one tile; what is compared are the tiles in the middles of `images`.
    ModelError where the model is untrained, cannot be exported, or differs on them; the file that
    was there stays.
    """
    model = load_model(folder)
    network = model.network
    if network is None:
        raise ModelError(f"{folder}: not trained ({model.config['why']}); nothing to export")
    inputs = [tile_input(path, model) for path in images]
    with torch.no_grad():
        expected = np.concatenate([network(x_BCHW).numpy() for x_BCHW in inputs])
    with replacing(file) as beside:
        program = _program(network, inputs[0])
        program.model.metadata_props.update(facts_of(model))
        program.save(beside, external_data=False)
        found = agreement(expected, _run(beside, inputs))
        if not found.good:
            raise ModelError(
                f"{folder}: onnxruntime and torch disagree on {len(inputs)} images: {found}; "
                f"{file} is not written"
            )
    return f"{file}: {file.stat().st_size / 2**20:.1f} MiB; on {len(inputs)} images {found}"


def agreement(expected_BKHW: Floats, found_BKHW: Floats) -> Agreement:
    """Compare logits of torch and of onnxruntime, both BKHW; another shape is ModelError."""
    if expected_BKHW.shape != found_BKHW.shape:
        raise ModelError(f"onnxruntime gives {found_BKHW.shape}, torch {expected_BKHW.shape}")
    ranked_BKHW = np.sort(expected_BKHW, axis=1)
    clear_BHW = ranked_BKHW[:, -1] - ranked_BKHW[:, -2] >= TIE
    changed_BHW = expected_BKHW.argmax(1) != found_BKHW.argmax(1)
    return Agreement(
        max_difference=float(np.abs(expected_BKHW - found_BKHW).max()),
        pixels_changed=int((changed_BHW & clear_BHW).sum()),
        num_pixels=clear_BHW.size,
    )


def real_images(
    folder: Path, images: Path | None = None, workspace: Path | None = None
) -> list[Path]:
    """NUM_IMAGES files, evenly spread over what there is, the same every time.

    From the folder `images`, else from the manifest of `workspace`, else of the workspace that
    `folder` lies in. DataError where there are fewer.
    """
    if images is not None:
        found = sorted(p for p in images.iterdir() if p.is_file() and not p.name.startswith("."))
        where = images
    else:
        where = workspace or _workspace_of(folder)
        found = [where / sample.image for sample in read_manifest(where / layout.MANIFEST)]
    if len(found) < NUM_IMAGES:
        raise DataError(f"{where}: {len(found)} images, expected at least {NUM_IMAGES} to compare")
    return [found[number * len(found) // NUM_IMAGES] for number in range(NUM_IMAGES)]


def _workspace_of(folder: Path) -> Path:
    for parent in folder.resolve().parents:
        if (parent / layout.MANIFEST).exists():
            return parent
    raise DataError(f"{folder}: lies in no workspace; give --images or --workspace")


def tile_input(path: Path, model: LoadedModel) -> Tensor:
    """images_1CHW: the tile in the middle of an image, normalised."""
    tile_CHW = middle_view(read_seen(path, model.image), model.image.crop_size)
    return normalise(tile_CHW, model.config["normalisation"])[None]


def _program(network: nn.Module, input_BCHW: Tensor) -> Any:
    """Static shapes: interpolated positions and pyramid pooling do not export with open ones."""
    logging.getLogger("onnxscript").setLevel(logging.ERROR)  # it tells each node it leaves as is
    try:
        return torch.onnx.export(
            network,
            (input_BCHW,),
            dynamo=True,
            verbose=False,
            input_names=["images"],
            output_names=["logits"],
        )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, ValueError) as error:
        raise ModelError(f"the model cannot be written as ONNX: {error}") from error


def facts_of(model: LoadedModel) -> dict[str, str]:
    """What one has to know to ask an exported model, as `pipeline.inference.onnx_predict` does."""
    mean, std = NORMALISATIONS[model.config["normalisation"]]
    return {
        "classes": json.dumps(model.config["classes"]),
        "normalisation": model.config["normalisation"],
        "mean": json.dumps(mean),
        "std": json.dumps(std),
        "height_px": str(model.image.height_px),
        "width_px": str(model.image.width_px),
        "scale": "squeeze" if model.image.scale is None else str(model.image.scale),
        "version": model.config["version"],
    }


def _run(file: Path, inputs: Sequence[Tensor]) -> Floats:
    """logits_BKHW of onnxruntime on the CPU, one image at a time."""
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    outputs = [session.run(["logits"], {"images": x_BCHW.numpy()})[0] for x_BCHW in inputs]
    return np.concatenate(outputs)
