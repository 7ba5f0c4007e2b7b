"""Where the parts of a data set lie, whatever its layout of folders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Source:
    """Paths as `ssl-loop domain add` and `ssl-loop init` take them; None = not there."""

    images: Path
    masks: Path | None = None
    splits: Path | None = None
    classes: Path | None = None
