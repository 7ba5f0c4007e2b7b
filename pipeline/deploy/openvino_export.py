"""A trained network as OpenVINO IR, for one size: the ONNX file, converted. B, C, K, H, W as there.

OpenVINO is not among what is installed: `pip install "ssl-loop[openvino]"`.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor

from pipeline.deploy.program_export import compared, require_good
from pipeline.errors import ModelError
from pipeline.files import replacing
from pipeline.inference.onnx_export import Floats, export_onnx, facts_of, tile_input
from pipeline.models import load_model


def export_openvino(folder: Path, file: Path, images: Sequence[Path]) -> str:
    """Write the model of `folder` to `file` (.xml) and a .bin beside it; how well it agrees.

    In float32; input, output and metadata (under `rt_info/ssl_loop`) are those of the ONNX file.
    ModelError as of `export_onnx`, and where OpenVINO is not installed.
    """
    openvino = _library()
    if file.suffix != ".xml":
        raise ModelError(f"{file}: OpenVINO reads its models from .xml; name it {file.stem}.xml")
    model = load_model(folder)
    with TemporaryDirectory(prefix="ssl-loop-export-") as made:
        export_onnx(folder, Path(made) / "model.onnx", images)
        converted = openvino.convert_model(str(Path(made) / "model.onnx"))
        for name, value in facts_of(model).items():
            converted.set_rt_info(value, ["ssl_loop", name])
        xml = Path(made) / "model.xml"
        openvino.save_model(converted, str(xml), compress_to_fp16=False)
        compiled = openvino.Core().compile_model(
            str(xml), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
        )

        def ask(x_BCHW: Tensor) -> Floats:
            found: Floats = compiled(x_BCHW.numpy())[0]
            return found

        assert model.network is not None  # or export_onnx had refused
        said = compared(model.network, ask, [tile_input(path, model) for path in images])
        require_good([said], folder, file)
        weights = xml.with_suffix(".bin")
        num_bytes = xml.stat().st_size + weights.stat().st_size
        for source, target in ((weights, file.with_suffix(".bin")), (xml, file)):
            with replacing(target) as beside:
                beside.write_bytes(source.read_bytes())
    return f"{file}: {num_bytes / 2**20:.1f} MiB; on {len(images)} images {said}"


def _library() -> Any:
    try:
        return importlib.import_module("openvino")
    except ImportError as error:
        raise ModelError(
            f"OpenVINO does not load here ({error}); `pip install openvino`, then try again"
        ) from None
