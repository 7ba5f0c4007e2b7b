"""The weights folder: pretrained weights of encoders by name and hash, one folder per machine.

`<encoder>/<first 16 of the SHA-256>.safetensors`, and beside it a .json that says whence they came.
That record is written last: weights without one are not there. Whoever only asks what is there
imports nothing heavy; `pipeline.models.weights` puts something in.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pipeline.config.network import AUTO_RANDOM, chosen_sha256
from pipeline.config.planned import AUTO
from pipeline.errors import ConfigError, ModelError
from pipeline.files import sha256_file
from pipeline.reading import read

VARIABLE = "SSL_LOOP_WEIGHTS"
SUFFIX, RECORD = ".safetensors", ".json"
SHOWN = 12  # characters of a hash in a text for people
_NAMED = 16  # of one in a file's name
_SHA256 = re.compile(r"[0-9a-f]{64}")
_REMEDY = "remove it and add the weights again: `ssl-loop weights add FILE`"


@dataclass(frozen=True, kw_only=True)
class StoredWeights:
    """The record of one weights file."""

    encoder: str
    sha256: str
    """Of the file as it is stored."""
    size_bytes: int
    source: Literal["file", "hub"]
    origin: str
    """A path of this machine, or repository, revision and file of the hub."""
    origin_sha256: str
    """Of the file as it came; another one where it was converted."""
    added: str
    """ISO 8601, UTC."""
    normalisation: Literal["imagenet", "symmetric"] | None = None
    """What these weights expect, where it is another than their name says."""
    encoder_options: dict[str, bool | int | float | str] = field(default_factory=dict)
    """What the encoder must be built with for them, such as `pad_type: same`."""


def weights_folder() -> Path:
    """$SSL_LOOP_WEIGHTS, or `weights` in the user's cache folder.

    ConfigError for a relative path: stages run in other folders than commands.
    """
    if named := os.environ.get(VARIABLE):
        if not Path(named).is_absolute():
            raise ConfigError(f"${VARIABLE} = {named!r}: name an absolute path")
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "ssl-loop" / "weights"


def stored_path(encoder: str, sha256: str) -> Path:
    """Where these weights lie, or would."""
    name = re.sub(r"[^A-Za-z0-9._-]", "_", encoder).lstrip(".")
    return weights_folder() / name / f"{sha256[:_NAMED]}{SUFFIX}"


def record_path(encoder: str, sha256: str) -> Path:
    """Where their record lies."""
    return stored_path(encoder, sha256).with_suffix(RECORD)


def stored_weights(encoder: str = "*") -> list[StoredWeights]:
    """What the folder holds of an encoder, or of all: by name, and of one name the newest first.

    DataError for a record that cannot be read.
    """
    folder = weights_folder() if encoder == "*" else stored_path(encoder, "").parent
    paths = folder.glob(f"*/*{RECORD}" if encoder == "*" else f"*{RECORD}")
    found = [read_record(path) for path in sorted(paths) if path.with_suffix(SUFFIX).is_file()]
    of_it = [weights for weights in found if encoder in ("*", weights.encoder)]
    newest = sorted(of_it, key=lambda weights: (weights.added, weights.sha256), reverse=True)
    return sorted(newest, key=lambda weights: weights.encoder)


def read_record(path: Path) -> StoredWeights:
    """The record at `path`; DataError, in one line, for anything else."""
    document = read(path, remedy=_REMEDY)
    found = document.json(StoredWeights)
    if not _SHA256.fullmatch(found.sha256) or not path.stem == found.sha256[:_NAMED]:
        raise document.wrong(f"sha256: {found.sha256[:SHOWN]!r} is not that of {path.stem}{SUFFIX}")
    return found


def require_stored(encoder: str, sha256: str) -> Path:
    """The file of these weights, proved by hash; ModelError where it is missing or was altered."""
    path = stored_path(encoder, sha256)
    if not path.is_file():
        raise ModelError(
            f"{path}: no such file: encoder {encoder!r} is to begin from the weights with SHA-256 "
            f"{sha256}; {_how(encoder)} may bring them, `encoder_weights: auto` chooses others"
        )
    if (found := sha256_file(path)) != sha256:
        raise ModelError(
            f"{path}: altered: SHA-256 {found[:SHOWN]}, expected {sha256[:SHOWN]}; {_REMEDY}"
        )
    return path


def weights_warning(encoder: str, encoder_weights: str | None) -> str:
    """What people should know of an `auto`: that the encoder begins at random, or cannot begin.

    "" where all is well, and where nobody asked for weights.
    """
    if (sha256 := chosen_sha256(encoder_weights)) is not None:
        if stored_path(encoder, sha256).is_file():
            return ""
        return (
            f"the weights {sha256[:SHOWN]} that encoder {encoder} begins from are not on this "
            f"machine, so nothing can be computed with them; {_how(encoder)}"
        )
    if encoder_weights not in (AUTO, AUTO_RANDOM):
        return ""
    is_there = bool(stored_weights(encoder))
    if is_there and encoder_weights == AUTO:
        return ""
    if is_there:
        return (
            f"encoder {encoder} started from random weights; the next round begins from those that "
            "were added since"
        )
    return f"encoder {encoder} starts from random weights; {_how(encoder)}"


def _how(encoder: str) -> str:
    return f"`ssl-loop weights fetch {encoder}` or `ssl-loop weights add FILE --encoder {encoder}`"
