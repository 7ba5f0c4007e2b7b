"""Items on their way out, checked whole before anything is sent: Label Studio checks nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from PIL import Image

from flows.annotators.annotator import PushItem, Region
from flows.annotators.masks import LABELS, encode_result, labels_for
from pipeline.data.formats.images import load_image
from pipeline.errors import DataError
from pipeline.records.regions import Box, boxes_text, framed

BATCH = 10  # items per request: progress is seen, and a killed push loses little
# Of images and masks per request. Label Studio takes 250 MB at once and fails with 500 beyond it;
# proxies that were set up for files take 100 MB or more, and the server holds a request in memory.
MAX_BATCH_BYTES = 32_000_000
ONLY_WRONG = "Correct only what is wrong: what you leave as it is stays unlabelled."
ONLY_INSIDE = "Label only inside the frames: what is painted outside is not used."


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A checked item with its pre-annotation encoded."""

    item: PushItem
    result: list[Region]
    model_version: str

    @property
    def item_id(self) -> str:
        """Identity of the task."""
        return self.item.item_id

    @property
    def num_bytes(self) -> int:
        """About what image and pre-annotation take on the wire; at most, where it is framed."""
        with Image.open(self.item.image) as image:
            raw = image.height * image.width * 3
        file = raw if self.item.regions else self.item.image.stat().st_size
        return file + len(json.dumps(self.result))

    @property
    def file(self) -> tuple[str, bytes]:
        """Name and content of the image to upload: the file itself, or with its regions framed."""
        image, regions = self.item.image, self.item.regions
        if not regions:
            return image.name, image.read_bytes()
        content = BytesIO()
        Image.fromarray(framed(load_image(image), regions)).save(content, "PNG")
        return f"{image.stem}.png", content.getvalue()

    def task(self, image_url: str) -> dict[str, Any]:
        """The body Label Studio takes.

        An item without pre-annotation gets an empty prediction: its score is what orders tasks,
        and a project without any prediction of its version is served at random.
        """
        item, background = self.item, self.item.background
        asked = {
            "reason": shown_reason(item.reason, item.regions, background, corrects=item.corrects)
        }
        if background is not None:
            asked["background"] = background
        if self.item.regions:
            asked["regions"] = boxes_text(self.item.regions)
        if self.item.corrects:
            asked["corrections"] = "yes"
        return {
            "data": {
                "image": image_url,
                "item_id": self.item.item_id,
                "sample_id": self.item.sample_id,
                "workspace": self.item.workspace_id,
                "image_sha256": self.item.image_sha256,
                # Data columns sort as text: fixed digits, so that 0.1 and 5e-05 keep their order.
                "uncertainty": f"{self.item.uncertainty:.6f}",
                **asked,
            },
            "predictions": [
                {
                    "model_version": self.model_version,
                    "score": 1.0 - self.item.uncertainty,
                    "result": self.result,
                }
            ],
        }


def shown_reason(
    reason: str,
    regions: Sequence[Box],
    background: str | None = None,
    *,
    corrects: bool = False,
) -> str:
    """What stands above the image."""
    notes = [ONLY_INSIDE] if regions else []
    notes += [ONLY_WRONG] if corrects else []
    notes += [] if background is None else [f"What you leave bare counts as {background}."]
    return ". ".join([reason, " ".join(notes)]) if notes else reason


def prepare(
    items: Sequence[PushItem], class_names: Sequence[str], model_version: str, kind: str = LABELS
) -> list[Upload]:
    """All items encoded as regions of `kind`, in order; DataError lists all that is wrong."""
    ids = [item.item_id for item in items]
    problems = [
        f"{twice}: twice in the query" for twice in sorted({i for i in ids if ids.count(i) > 1})
    ]
    uploads = []
    for item in items:
        try:
            _check(item)
            mask_HW = item.pre_annotation_HW
            result = item.as_sent or []
            if mask_HW is not None:
                labels = labels_for(class_names, item.background)
                result = encode_result(mask_HW, labels, item.item_id, kind)
            uploads.append(Upload(item=item, result=result, model_version=model_version))
        except DataError as error:
            problems.append(f"{item.item_id}: {error}")
    if problems:
        listed = "\n  ".join(problems[:20])
        raise DataError(f"{len(problems)} problem(s), nothing was sent:\n  {listed}")
    return uploads


def batches(
    items: Sequence[Upload], *, max_items: int = BATCH, max_bytes: int = MAX_BATCH_BYTES
) -> Iterator[list[Upload]]:
    """The items in order, in pieces within both bounds; what is larger by itself goes alone."""
    batch: list[Upload] = []
    so_far = 0
    for item in items:
        size = item.num_bytes
        if batch and (len(batch) == max_items or so_far + size > max_bytes):
            yield batch
            batch, so_far = [], 0
        batch.append(item)
        so_far += size
    if batch:
        yield batch


def _check(item: PushItem) -> None:
    if not (math.isfinite(item.uncertainty) and 0.0 <= item.uncertainty <= 1.0):
        raise DataError(f"uncertainty {item.uncertainty}, expected 0 to 1")
    try:
        with Image.open(item.image) as image:
            size = (image.height, image.width)
    except OSError as error:
        raise DataError(f"{item.image} cannot be read as an image ({error})") from None
    mask_HW = item.pre_annotation_HW
    if mask_HW is not None and mask_HW.shape[:2] != size:
        raise DataError(
            f"pre-annotation of {mask_HW.shape[:2]} for an image of {size} (height, width)"
        )
    whole = Box(0, 0, size[1], size[0])
    if beyond := [str(box) for box in item.regions if not whole.holds(box)]:
        raise DataError(f"regions {beyond} reach beyond the image of {size} (height, width)")
