"""Files of a tag, read from DVC's cache: the work tree stays as it is."""

from __future__ import annotations

from pathlib import Path

from flows.workspace.dvc.dvc_cache import cache_of, outs_at
from flows.workspace.position import require_tag
from flows.workspace.workspace import Workspace
from pipeline.errors import WorkspaceError

_SHOWN = 8


class TaggedFiles:
    """What DVC keeps at a tag, by path in the workspace."""

    def __init__(self, workspace: Workspace, tag: str) -> None:
        """WorkspaceError, with near tags, for one that is not there."""
        workspace.require()
        require_tag(tag, workspace.git.run("tag").decode().split())
        self.tag = tag
        self._cache = cache_of(workspace)
        self._outs = {out.path: out for out in outs_at(workspace.git, f"refs/tags/{tag}")}

    def has(self, name: str) -> bool:
        """Whether DVC kept a file or folder of this name."""
        return name in self._outs

    def under(self, name: str) -> dict[str, Path]:
        """Every file of the kept file or folder `name`, with the object that has its content.

        WorkspaceError with the remedy where the cache lacks some.
        """
        out = self._outs[name]
        if lost := self._cache.missing([out]):
            more = f" and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else ""
            raise WorkspaceError(
                f"{self.tag}: not in DVC's cache: {', '.join(lost[:_SHOWN])}{more}; `ssl-loop "
                f"restore {self.tag} --into DIR` fetches it all from the remote: go on in DIR"
            )
        files = self._cache.files(out) or {}
        return {path: self._cache.object(md5).absolute() for path, md5 in files.items()}

    def link(self, name: str, into: Path) -> None:
        """The files of the kept folder `name` as links in the new folder `into`."""
        into.mkdir(parents=True)
        for path, kept in self.under(name).items():
            link = into / Path(path).relative_to(name)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(kept)
