"""What every step of a tick works on: the workspace, the ledger, the annotation tool."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from db.session import Ledger, open_ledger
from flows.annotators import ANNOTATORS
from flows.annotators.annotator import Annotator, Owner, Project
from flows.ledger.domain_projects import find_project, remember_project
from flows.services import stack
from flows.workspace.credentials import keep_private
from flows.workspace.git.lost_tags import require_tags
from flows.workspace.identity import Identity, require_identity
from flows.workspace.position import Position, position
from flows.workspace.workspace import Workspace
from pipeline import layout
from pipeline.config.params import Params
from pipeline.data.formats.images import save_mask
from pipeline.errors import ConfigError, WorkspaceError
from pipeline.files import sha256_file

Log = Callable[[str], None]
_LOG = logging.getLogger("ssl-loop")


@dataclass(kw_only=True)
class Loop:
    """One workspace with its facts and its people; made anew for every tick."""

    workspace: Workspace
    ledger: Ledger
    log: Log = _LOG.info
    annotator_factory: Callable[[Path, Params], Annotator] | None = field(default=None)

    @property
    def root(self) -> Path:
        """The workspace's folder."""
        return self.workspace.root

    def read_params(self) -> Params:
        """params.yaml as it is now: read and validated with every call."""
        return self.workspace.params()

    @cached_property
    def annotator(self) -> Annotator:
        """The annotation tool, connected on first use."""
        make = self.annotator_factory or connect_annotator
        return make(self.root, self.read_params())

    @cached_property
    def identity(self) -> Identity:
        """Who this workspace is; WorkspaceError for one that has no id yet."""
        return require_identity(self.root)

    def project(self, domain: str) -> Project:
        """The domain's project in the annotation tool, made when it never was.

        ToolStateError when it is gone, or is another workspace's.
        """
        params = self.read_params()
        found = self.known_project(domain, params.classes)
        if found is None:
            owner = self._owner(domain)
            title = f"{params.annotation.title.strip()}: {self.root.name} / {domain}"
            found = self.annotator.create_project(owner, title, params.classes)
            remember_project(self.ledger, owner, found)
        return found

    def known_project(self, domain: str, class_names: Sequence[str]) -> Project | None:
        """As `project`, but None where it never was made."""
        return find_project(
            self.annotator,
            self.ledger,
            self._owner(domain),
            class_names,
            restored=bool(self.identity.restored_from),
        )

    def _owner(self, domain: str) -> Owner:
        return Owner(workspace_id=self.identity.id, domain=domain)

    def position(self) -> Position | None:
        """Where the loop stands; None before the first domain is taken in.

        WorkspaceError where tags that say it are missing.
        """
        tags = self.workspace.tags_merged()
        return position_in(self.workspace, self.read_params().domain, tags)

    def require_position(self) -> Position:
        """As `position`, or WorkspaceError saying how to bring the first domain."""
        here = self.position()
        if here is None:
            raise WorkspaceError(
                f"{self.root}: no domain yet; `ssl-loop domain add NAME --images DIR` brings one"
            )
        return here


def position_in(workspace: Workspace, domain: str | None, tags: Iterable[str]) -> Position | None:
    """Where `domain` stands by the tags; WorkspaceError where tags that say it are missing."""
    found = position(domain, tags)
    if found is None and domain is not None:
        require_tags(workspace)
    return found


@contextmanager
def open_loop(root: Path, *, log: Log | None = None) -> Iterator[Loop]:
    """The workspace at `root` with its ledger open; WorkspaceError when it is not one."""
    workspace = Workspace(root)
    workspace.require()
    keep_private(workspace.root)
    ledger = open_ledger(stack.ledger_url(root))
    try:
        yield Loop(workspace=workspace, ledger=ledger, log=log or _LOG.info)
    finally:
        ledger.close()


def connect_annotator(root: Path, params: Params) -> Annotator:
    """The tool that params.yaml names, at the address and with the token of this workspace."""
    make = ANNOTATORS.get(params.annotation.tool)
    if make is None:
        raise ConfigError(
            f"annotation.tool = {params.annotation.tool!r}: unknown; known: {sorted(ANNOTATORS)}"
        )
    url, token = stack.annotation_tool(root, params)
    return make(url, token)


def inbox(root: Path, name: str) -> Path:
    """A file of the inbox: what the tool gave, kept until a merge puts it into git and DVC."""
    return root / layout.INBOX / name


def keep_mask(root: Path, mask_HW: npt.NDArray[np.uint8]) -> str:
    """SHA-256 of the mask's file, which is its name in the inbox."""
    beside = inbox(root, "incoming-mask.png")
    save_mask(beside, mask_HW)
    digest = sha256_file(beside)
    beside.replace(inbox(root, f"{digest}.png"))
    return digest
