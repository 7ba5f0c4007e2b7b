"""Which models of the line are meant: by tag, by hash, or by a folder that holds one."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from flows.loop import Loop
from flows.workspace.dvc.dvc_cache import Cache, Out, cache_of
from flows.workspace.position import require_tag, round_tags
from pipeline import layout
from pipeline.errors import ModelError
from pipeline.files import sha256_file

KINDS = {"baseline": layout.BASELINE, "teacher": layout.TEACHER}
_HASH = re.compile(r"[0-9a-f]{6,64}(\.dir)?")
_WEIGHTS = ".safetensors"


@dataclass(frozen=True, kw_only=True)
class Model:
    """One model of one computed round; `weights` is DVC's hash of its folder."""

    tag: str
    domain: str
    round_index: int
    kind: str  # baseline | teacher
    weights: str


def models_named(loop: Loop, name: str) -> list[Model]:
    """Both models of a tag's round, or the one of a hash or folder; the first round that made it.

    ModelError or WorkspaceError, with near tags, when there is none. A hash is DVC's of the model's
    folder or SHA-256 of its weights, at least 6 digits; a folder may lie anywhere.
    """
    tags = loop.workspace.tags_merged()
    if name in tags:
        return _of_tag(loop, name)
    line = models(loop)
    folder = Path(name) if Path(name).exists() else loop.root / name
    if folder.exists():
        folder = folder if folder.is_dir() else folder.parent
        found = [model for model in line if model.weights == folder_hash(folder)]
        if not found:
            raise ModelError(f"{name}: no round of this workspace made what lies there")
    elif _HASH.fullmatch(name):
        found = [model for model in line if model.weights.startswith(name)]
        found = found or _by_weights(cache_of(loop.workspace), line, name)
        if not found:
            raise ModelError(f"{name}: no model of this workspace has this hash")
    else:
        require_tag(name, tags)  # names near ones
    return [model for model in found if model.tag == found[0].tag]


def models(loop: Loop) -> list[Model]:
    """Every model of the line, in order of arrival and round."""
    rounds = round_tags(loop.read_params().domains, loop.workspace.tags_merged())
    found = []
    for domain, round_index, tag in rounds:
        weights = loop.workspace.locked_outs(tag)
        found += [
            Model(
                tag=tag,
                domain=domain,
                round_index=round_index,
                kind=kind,
                weights=weights[folder.as_posix()],
            )
            for kind, folder in KINDS.items()
        ]
    return found


def _of_tag(loop: Loop, name: str) -> list[Model]:
    """The models that lie at a tag: those of the newest round up to it."""
    merged = loop.workspace.git.run("tag", "--merged", name).decode().split()
    rounds = round_tags(loop.read_params().domains, merged)
    if not rounds:
        raise ModelError(f"{name}: no round was computed by then, so there is no model")
    newest = rounds[-1][2]
    return [model for model in models(loop) if model.tag == newest]


def _by_weights(cache: Cache, line: list[Model], sha256: str) -> list[Model]:
    """By SHA-256 of the weights' file, as the report shows it, where the cache has the file."""
    found = []
    for model in line:
        out = Out(path=model.kind, md5=model.weights, remade=False)
        files = [md5 for path, md5 in (cache.files(out) or {}).items() if path.endswith(_WEIGHTS)]
        paths = [cache.object(md5) for md5 in files]
        if any(path.exists() and sha256_file(path).startswith(sha256) for path in paths):
            found.append(model)
    return found


def folder_hash(folder: Path) -> str:
    """DVC's hash of a folder: MD5 of the JSON list of its files and their MD5."""
    entries = [
        {"md5": _md5(path), "relpath": path.relative_to(folder).as_posix()}
        for path in folder.rglob("*")
        if path.is_file()
    ]
    entries.sort(key=lambda entry: tuple(entry["relpath"].split("/")))
    text = json.dumps(entries, sort_keys=True)
    return f"{hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()}.dir"


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
