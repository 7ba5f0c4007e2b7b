"""Pascal VOC: JPEGImages/, SegmentationClass/ with VOC's palette, ImageSets/Segmentation/."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.data.exports.export_set import LEARNT_FROM, Advance, ExportSet, IouLost
from pipeline.files import replacing, write_text


def write_pascal_voc(data: ExportSet, out: Path, advance: Advance) -> IouLost:
    """Palette PNGs of class indices, 255 = void; class 0 is the first class, not a background.

    Images keep their kind, so that JPEGImages/ may hold PNGs. labels.txt names the classes.
    """
    palette = voc_palette()
    for sample in data.samples:
        sample.copy_image(out / "JPEGImages")
        if sample.mask is not None:
            image = Image.fromarray(sample.mask_HW(len(data.classes)))
            image.putpalette(palette)
            with replacing(out / "SegmentationClass" / f"{sample.name}.png") as beside:
                image.save(beside, "PNG", optimize=True)
        advance()
    for split in (*LEARNT_FROM, "unlabelled"):
        names = [sample.name for sample in data.samples if sample.split == split]
        write_text(out / f"ImageSets/Segmentation/{split}.txt", "".join(f"{n}\n" for n in names))
    write_text(out / "labels.txt", "".join(f"{name}\n" for name in data.classes))
    return {}


def voc_palette() -> list[int]:
    """256 colours, red, green and blue after another, as VOC's development kit computes them.

    Bits 0, 1 and 2 of the index are the highest of red, green and blue, bits 3 to 5 the next.
    """
    palette = np.zeros((256, 3), dtype=np.uint8)
    for index in range(256):
        for place in range(8):
            for channel in range(3):
                bit = index >> (3 * place + channel) & 1
                palette[index, channel] |= bit << (7 - place)
    return [int(value) for value in palette.ravel()]
