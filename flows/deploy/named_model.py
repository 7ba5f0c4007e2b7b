"""A model by its folder, or by a git tag of the workspace whose work tree stays as it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from flows.rounds.offered_teacher import require_offered
from flows.workspace.dvc.dvc_cache import Out, cache_of, outs_at
from flows.workspace.position import require_tag
from flows.workspace.workspace import Workspace
from pipeline import layout
from pipeline.config.params import Members, Params, load_params, parse_params
from pipeline.errors import ModelError

_REMEDY = "`ssl-loop restore TAG --into DIR` says what is lost of a tag"


@dataclass(frozen=True, kw_only=True)
class NamedModel:
    """A model's folder, and the params beside it."""

    folder: Path
    params: Params | None
    """None for a folder that lies in no workspace."""

    @property
    def members(self) -> Members:
        """How the loop asks it."""
        return "none" if self.params is None else self.params.predict.members


@contextmanager
def named_model(name: str, workspace: Path) -> Iterator[NamedModel]:
    """The model in the folder `name`, else the teacher of that tag of `workspace`.

    WorkspaceError with near tags for a name that is neither, and for a folder whose teacher is
    refused for what it costs older domains; ModelError for a tag without a model.
    """
    folder = Path(name)
    if folder.is_dir():
        require_offered(folder)
        yield NamedModel(folder=folder, params=_params_beside(folder))
        return
    found = Workspace(workspace)
    found.require()
    require_tag(name, found.git.run("tag").decode().split())
    with TemporaryDirectory(prefix="ssl-loop-model-") as made:
        params = parse_params(found.file_at(name, layout.PARAMS).yaml(), source=f"params at {name}")
        yield NamedModel(folder=_bring(found, name, Path(made)), params=params)


def _params_beside(folder: Path) -> Params | None:
    """Of the workspace whose models/ the folder lies in."""
    root = folder.resolve().parents[1]
    return load_params(root / layout.PARAMS) if (root / layout.PARAMS).exists() else None


def _bring(workspace: Workspace, tag: str, into: Path) -> Path:
    """The teacher's files at a tag: from DVC's cache, else from the remote."""
    name = layout.TEACHER.as_posix()
    outs = {out.path: out for out in outs_at(workspace.git, f"refs/tags/{tag}")}
    if name not in outs:
        raise ModelError(f"{tag}: no round was computed by then, so there is no model")
    folder = into / layout.TEACHER.name
    if not _linked(workspace, outs[name], folder):
        get = ("get", str(workspace.root), name, "--rev", tag, "--out", str(folder), "--force")
        workspace.dvc(*get, remedy=_REMEDY)
    return folder


def _linked(workspace: Workspace, out: Out, folder: Path) -> bool:
    """Whether all files are in the cache; links to them then lie in `folder`."""
    cache = cache_of(workspace)
    if cache.missing([out]):
        return False
    for path, md5 in (cache.files(out) or {}).items():
        link = folder / Path(path).relative_to(out.path)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(cache.object(md5).absolute())
    return True
