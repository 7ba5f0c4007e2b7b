"""A review as one HTML file that opens offline: each mask with its worst part outlined."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.class_colours import class_colours
from pipeline.files import write_text
from pipeline.label_errors.reviewed_masks import ReviewedMask
from pipeline.report import charts, pictures
from pipeline.report.round_page import drawn, new_environment

PICTURE_PX = 420  # long side of a picture


def render_review(
    root: Path,
    class_names: Sequence[str],
    found: Sequence[ReviewedMask],
    blind: Sequence[dict[str, Any]],
    out_path: Path,
) -> None:
    """Write the page of the masks `found`, in their order, and of answers accepted blind.

    Equal masks give equal bytes.
    """
    environment = new_environment("pipeline.label_errors")
    environment.filters["data_uri"] = pictures.data_uri
    style = Path(charts.__file__).with_name("report.css").read_text(encoding="utf-8")
    colours = class_colours(len(class_names))
    rows = []
    for one in found:
        image = pictures.small_image(root / one.image, [one.parts[0].box], long_side_px=PICTURE_PX)
        painted = pictures.overlay(image, root / one.mask, colours)
        rows.append({"mask": one, "image": image, "painted": painted})
    page = environment.get_template("review.html.j2").render(
        rows=rows,
        blind=blind,
        key=list(zip(class_names, colours, strict=True)),
        style=drawn(style),
    )
    write_text(out_path, page)
