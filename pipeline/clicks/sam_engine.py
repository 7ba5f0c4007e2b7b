"""Click to mask by SAM 2.1 (Ravi et al. 2024), tiny or small, as ONNX in the weights folder.

Two files as SAM 2 is usually exported: `encoder.onnx`, from an image squeezed to its own square to
three maps, and `decoder.onnx`, from these and points to masks with the IoU it expects of each. It
knows no classes: whatever is marked is outlined. H height, W width of the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

from pipeline import layout
from pipeline.array_files import array_of, read_arrays
from pipeline.clicks.marks import BoxMark, Mark, check_class, check_marks
from pipeline.clicks.recent_images import RecentImages
from pipeline.config.params import Params
from pipeline.data.formats.images import image_size, load_image
from pipeline.errors import DataError, ModelError
from pipeline.files import replacing, sha256_file
from pipeline.runtime.weights_folder import weights_folder

Size = Literal["tiny", "small"]
MAPS = ("image_embed", "high_res_feats_0", "high_res_feats_1")
ENCODER_INPUTS = ("image",)
DECODER_INPUTS = (*MAPS, "point_coords", "point_labels", "mask_input", "has_mask_input")
DECODER_OUTPUTS = ("masks", "iou_predictions")
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# What the decoder calls points: beside a thing, on it, a box's first and last corner.
NEGATIVE, POSITIVE, TOP_LEFT, BOTTOM_RIGHT = 0, 1, 2, 3
CACHE_MIB = 128
Floats = NDArray[np.float32]


def sam_files(size: Size) -> tuple[Path, Path]:
    """Where encoder and decoder lie, or would."""
    folder = weights_folder() / f"sam2.1_hiera_{size}"
    return folder / "encoder.onnx", folder / "decoder.onnx"


def has_sam(size: Size) -> bool:
    """Whether both files are there."""
    return all(path.is_file() for path in sam_files(size))


@dataclass(frozen=True, eq=False)
class _Seen:
    """What the encoder said about an image."""

    size: tuple[int, int]
    maps: dict[str, NDArray[np.float16]]

    @property
    def num_bytes(self) -> int:
        return sum(each.nbytes for each in self.maps.values())


class SamEngine:
    """Masks by SAM 2.1; what it keeps lies under .ssl-loop/clicks, by its encoder's hash."""

    def __init__(
        self, root: Path, params: Params, size: Size = "tiny", *, cache_mib: int = CACHE_MIB
    ) -> None:
        """ModelError where files are missing, unreadable, or of other inputs and outputs."""
        encoder, decoder = sam_files(size)
        self.name = f"sam2.1-{size}"
        self._classes = params.classes
        self._encoder = _session(encoder, ENCODER_INPUTS, MAPS)
        self._decoder = _session(decoder, DECODER_INPUTS, DECODER_OUTPUTS)
        self._side = _fixed(encoder, self._encoder, "image", 4, -1)
        self._mask_side = _fixed(decoder, self._decoder, "mask_input", 4, -1)
        self._folder = root / layout.CLICKS / f"{self.name}-{sha256_file(encoder)[:16]}"
        self._images = RecentImages(cache_mib * 2**20, self._read_or_made)

    def prepare(self, image: Path) -> None:
        """As of every engine."""
        self._images.get(image)

    def mask(self, image: Path, marks: Sequence[Mark], class_index: int) -> NDArray[np.bool_]:
        """As of every engine, but that all classes get the same mask."""
        check_class(class_index, self._classes)
        seen = self._images.get(image)
        check_marks(marks, seen.size)
        points = _points(marks)
        scale = (self._side / seen.size[1], self._side / seen.size[0])
        given = {
            **{name: each.astype(np.float32) for name, each in seen.maps.items()},
            "point_coords": np.array(
                [[(p.column * scale[0], p.row * scale[1]) for p in points]], "f"
            ),
            "point_labels": np.array([[p.label for p in points]], "f"),
            "mask_input": np.zeros((1, 1, self._mask_side, self._mask_side), np.float32),
            "has_mask_input": np.zeros(1, np.float32),
        }
        logits_1Mhw, ious_1M = self._decoder.run(list(DECODER_OUTPUTS), given)
        best_hw = logits_1Mhw[0, int(ious_1M[0].argmax())]
        whole = Image.fromarray(best_hw.astype(np.float32)).resize(
            seen.size[::-1], Image.Resampling.BILINEAR
        )
        found: NDArray[np.bool_] = np.asarray(whole) > 0
        return found

    def _read_or_made(self, image: Path) -> _Seen:
        file = self._folder / f"{sha256_file(image)}.npz"
        if file.exists():
            try:
                arrays = read_arrays(file, MAPS)
                maps = {name: array_of(arrays, name, "f", 4, str(file)) for name in MAPS}
                return _Seen(image_size(image), maps)
            except DataError:
                pass  # damaged: made again
        found = self._encoder.run(list(MAPS), {"image": self._squeezed(image)})
        maps = {name: each.astype(np.float16) for name, each in zip(MAPS, found, strict=True)}
        with replacing(file) as beside, beside.open("wb") as out:
            np.savez(out, **maps)  # type: ignore[arg-type]
        return _Seen(image_size(image), maps)

    def _squeezed(self, image: Path) -> Floats:
        pixels = Image.fromarray(load_image(image))
        small = pixels.resize((self._side, self._side), Image.Resampling.BILINEAR)
        values_HWC = np.asarray(small, np.float32) / 255
        normal_HWC = (values_HWC - np.array(MEAN, "f")) / np.array(DEVIATION, "f")
        return np.ascontiguousarray(normal_HWC.transpose(2, 0, 1)[None])


class _Point(NamedTuple):
    """As the decoder takes it, in pixels of the image."""

    column: float
    row: float
    label: int


def _points(marks: Sequence[Mark]) -> list[_Point]:
    """A box is its first and its last corner."""
    points = []
    for mark in marks:
        if isinstance(mark, BoxMark):
            points.append(_Point(mark.left, mark.top, TOP_LEFT))
            points.append(_Point(mark.right, mark.bottom, BOTTOM_RIGHT))
        else:
            label = POSITIVE if mark.positive else NEGATIVE
            points.append(_Point(mark.column, mark.row, label))
    return points


def _session(
    file: Path, inputs: Sequence[str], outputs: Sequence[str]
) -> onnxruntime.InferenceSession:
    if not file.is_file():
        raise ModelError(
            f"{file}: no such file; export SAM 2.1 to ONNX and put encoder.onnx and decoder.onnx "
            "there, or use the teacher's engine"
        )
    try:
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has types of its own for each damage
        words = " ".join(str(error).split())[:200]
        raise ModelError(f"{file}: not a readable ONNX file: {words}; export it again") from error
    for what, wanted, found in (
        ("inputs", inputs, [each.name for each in session.get_inputs()]),
        ("outputs", outputs, [each.name for each in session.get_outputs()]),
    ):
        others = set(found) != set(wanted) if what == "inputs" else set(wanted) - set(found)
        if others:
            raise ModelError(
                f"{file}: {what} {', '.join(sorted(found))}; expected {', '.join(sorted(wanted))}; "
                "export encoder and decoder of SAM 2.1 with these names"
            )
    return session


def _fixed(
    file: Path, session: onnxruntime.InferenceSession, name: str, num_axes: int, axis: int
) -> int:
    """The size of an input along `axis`, which has to stand in the file."""
    (shape,) = (each.shape for each in session.get_inputs() if each.name == name)
    if len(shape) != num_axes or not isinstance(shape[axis], int):
        raise ModelError(
            f"{file}: input {name} of shape {shape}: expected {num_axes} axes, height and width "
            "fixed; export it without dynamic image sizes"
        )
    return int(shape[axis])
