"""ONNX files with the inputs and outputs of SAM 2.1, tiny: its mask is about the first point."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 64  # of the square that images are squeezed to; the real ones have 1024
SHAPES = {
    "image_embed": (1, 4, SIDE // 16, SIDE // 16),
    "high_res_feats_0": (1, 2, SIDE // 4, SIDE // 4),
    "high_res_feats_1": (1, 3, SIDE // 8, SIDE // 8),
}
STRIDES = {"image_embed": 16, "high_res_feats_0": 4, "high_res_feats_1": 8}


def write_sam(encoder: Path, decoder: Path, *, without: str = "") -> None:
    """Both files; the decoder lacks the input `without`."""
    encoder.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(_encoder(), encoder)
    onnx.save(_decoder(without), decoder)


def _encoder() -> onnx.ModelProto:
    """Random convolutions of the strides of the three maps."""
    rng = np.random.default_rng(0)
    nodes, weights = [], []
    for name, shape in SHAPES.items():
        stride = STRIDES[name]
        kernel = rng.normal(size=(shape[1], 3, stride, stride)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"{name}_kernel"))
        nodes.append(
            helper.make_node("Conv", ["image", f"{name}_kernel"], [name], strides=[stride, stride])
        )
    inputs = [_value("image", (1, 3, SIDE, SIDE))]
    return _model(nodes, inputs, [_value(*each) for each in SHAPES.items()], weights)


def _decoder(without: str) -> onnx.ModelProto:
    """Three masks: 100 less the squared distance from the first point, in cells of 4 pixels; the
    second is expected to be the best, and alone is not shifted far away."""
    side = SIDE // 4
    rows, columns = np.mgrid[:side, :side].astype(np.float32) * 4 + 2
    constants = {
        "columns": columns[None, None],
        "rows": rows[None, None],
        "zero": np.zeros(1, np.int64),
        "one": np.ones(1, np.int64),
        "reach": np.full(1, 100, np.float32),
        "shifts": np.array([-1e6, 0, -1e6], np.float32).reshape(1, 3, 1, 1),
        "best": np.array([[0.1, 0.9, 0.2]], np.float32),
    }
    weights = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    nodes = [
        helper.make_node("Slice", ["point_coords", "zero", "one", "one"], ["point"]),
        helper.make_node("Split", ["point"], ["x", "y"], axis=2, num_outputs=2),
    ]
    for axis, grid in (("x", "columns"), ("y", "rows")):
        nodes += [
            helper.make_node("Unsqueeze", [axis, "one"], [f"{axis}_4"]),
            helper.make_node("Sub", [grid, f"{axis}_4"], [f"d{axis}"]),
            helper.make_node("Mul", [f"d{axis}", f"d{axis}"], [f"d{axis}2"]),
        ]
    nodes += [
        helper.make_node("Add", ["dx2", "dy2"], ["far"]),
        helper.make_node("Sub", ["reach", "far"], ["near"]),
        helper.make_node("Add", ["near", "shifts"], ["masks"]),
        helper.make_node("Identity", ["best"], ["iou_predictions"]),
    ]
    inputs = [_value(*each) for each in SHAPES.items()] + [
        _value("point_coords", (1, "points", 2)),
        _value("point_labels", (1, "points")),
        _value("mask_input", (1, 1, side, side)),
        _value("has_mask_input", (1,)),
    ]
    inputs = [each for each in inputs if each.name != without]
    outputs = [_value("masks", (1, 3, side, side)), _value("iou_predictions", (1, 3))]
    return _model(nodes, inputs, outputs, weights)


def _value(name: str, shape: tuple[int | str, ...]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    weights: list[onnx.TensorProto],
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "sam", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
