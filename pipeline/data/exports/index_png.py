"""The layout that `ssl-loop domain add` reads: images/, masks/, splits.csv and classes.csv."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline.data.exports.export_set import Advance, ExportSet, IouLost
from pipeline.files import write_text


def write_index_png(data: ExportSet, out: Path, advance: Advance) -> IouLost:
    """Folders of images and of 8-bit masks of class indices, 255 = ignore; bytes as they were."""
    (out / "masks").mkdir(parents=True)
    for sample in data.samples:
        sample.copy_image(out / "images")
        if sample.mask is not None:
            shutil.copyfile(sample.mask, out / "masks" / f"{sample.name}.png")
        advance()
    # As `domain add --splits` has it: of the pool, what came with a mask is `labelled`.
    words = {"train": "labelled", "unlabelled": "pool"}
    rows = [(s.name, words.get(s.split, s.split), s.domain) for s in data.samples]
    write_text(out / "splits.csv", _table(("id", "split", "domain"), rows))
    write_text(out / "classes.csv", _table(("index", "name"), enumerate(data.classes)))
    return {}


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()
