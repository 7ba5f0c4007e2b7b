"""Which workspace this is: an id made once and kept in git.

Everything that leaves the workspace carries it, so that what comes back can be told from another
workspace's, whatever folders, titles and numbers say. A clone is the same workspace on another
machine; a restored one is a workspace of its own.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline import layout
from pipeline.errors import WorkspaceError
from pipeline.files import write_json
from pipeline.reading import read

_ID = re.compile(r"[0-9a-f]{12}")
_REMEDY = f"`git checkout -- {layout.WORKSPACE}`: tasks in the annotation tool carry the id"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """The content of workspace.json."""

    id: str
    restored_from: str = ""  # the tag, for a workspace that `ssl-loop restore` made


def new_identity(root: Path, *, restored_from: str = "") -> Identity:
    """Give the workspace at `root` an id; the file is still to be committed."""
    made = Identity(id=uuid.uuid4().hex[:12], restored_from=restored_from)
    write_json(root / layout.WORKSPACE, asdict(made))
    return made


def read_identity(root: Path) -> Identity | None:
    """Who the workspace is; None for one of an older version, which the next tick gives an id.

    WorkspaceError for a damaged file.
    """
    path = root / layout.WORKSPACE
    if not path.exists():
        return None
    file = read(path, error=WorkspaceError, remedy=_REMEDY)
    found = file.json(Identity)
    if not _ID.fullmatch(found.id):
        raise file.wrong(f"id {found.id[:60]!r}, expected 12 hex digits")
    return found


def require_identity(root: Path) -> Identity:
    """As `read_identity`; WorkspaceError where there is none yet."""
    found = read_identity(root)
    if found is None:
        raise WorkspaceError(
            f"{root / layout.WORKSPACE}: missing; the next tick (`ssl-loop run`) writes it, or "
            f"`git checkout -- {layout.WORKSPACE}` brings it back"
        )
    return found
