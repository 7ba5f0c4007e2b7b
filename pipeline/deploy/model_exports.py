"""What a trained model is exported as: a file each, and a row here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.deploy.openvino_export import export_openvino
from pipeline.deploy.program_export import export_program
from pipeline.inference import onnx_export


def _export_onnx(folder: Path, file: Path, images: Sequence[Path]) -> str:
    return onnx_export.export_onnx(folder, file, images)


# the ending of its file -> writes a model's folder to a file, if it agrees with torch on images
MODEL_EXPORTS: dict[str, Callable[[Path, Path, Sequence[Path]], str]] = {
    "onnx": _export_onnx,
    "pt2": export_program,
    "xml": export_openvino,
}
