"""DVC's own files as far as the loop reads them: dvc.lock, dvc.yaml, `<out>.dvc`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NotRequired

from typing_extensions import TypedDict

from pipeline.reading import Document

DVC_LOCK = Path("dvc.lock")


class KeptOut(TypedDict):
    """A file or folder with the hash of its content; other keys are DVC's."""

    path: str
    md5: str


class LockedStage(TypedDict):
    """What a stage last read and wrote."""

    deps: NotRequired[list[dict[str, Any]]]
    outs: NotRequired[list[KeptOut]]
    params: NotRequired[dict[str, dict[str, Any]]]


class _Lock(TypedDict):
    stages: NotRequired[dict[str, LockedStage]]


class _DvcFile(TypedDict):
    outs: NotRequired[list[KeptOut]]


class _Outs(TypedDict):
    outs: NotRequired[list[str | dict[str, dict[str, Any]]]]


class _Stage(_Outs):
    do: NotRequired[_Outs]


class _DvcYaml(TypedDict):
    stages: NotRequired[dict[str, _Stage]]


def locked_stages(document: Document) -> dict[str, LockedStage]:
    """Of dvc.lock, by name; DataError names the key that is wrong."""
    return document.typed(document.yaml(), _Lock).get("stages", {})


def outs_of(document: Document) -> list[KeptOut]:
    """Of a .dvc file."""
    return document.typed(document.yaml(), _DvcFile).get("outs", [])


def not_pushed(document: Document) -> set[str]:
    """Outs that dvc.yaml marks `push: false`."""
    found = set()
    for stage in document.typed(document.yaml(), _DvcYaml).get("stages", {}).values():
        for out in stage.get("do", stage).get("outs", ()):
            if isinstance(out, dict):
                found |= {name for name, options in out.items() if options.get("push") is False}
    return found
