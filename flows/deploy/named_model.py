"""A model by its folder, or by a git tag of the workspace whose work tree stays as it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from flows.deploy.tagged_files import TaggedFiles
from flows.rounds.offered_teacher import require_offered
from flows.workspace.workspace import Workspace
from pipeline import layout
from pipeline.config.params import Members, Params, load_params, parse_params
from pipeline.errors import ModelError


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
    opened, teacher = Workspace(workspace), layout.TEACHER.as_posix()
    files = TaggedFiles(opened, name)
    if not files.has(teacher):
        raise ModelError(f"{name}: no round was computed by then, so there is no model")
    params = parse_params(opened.file_at(name, layout.PARAMS).yaml(), source=f"params at {name}")
    with TemporaryDirectory(prefix="ssl-loop-model-") as made:
        files.link(teacher, Path(made) / layout.TEACHER.name)
        yield NamedModel(folder=Path(made) / layout.TEACHER.name, params=params)


def _params_beside(folder: Path) -> Params | None:
    """Of the workspace whose models/ the folder lies in."""
    root = folder.resolve().parents[1]
    return load_params(root / layout.PARAMS) if (root / layout.PARAMS).exists() else None
