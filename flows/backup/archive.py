"""The file of a backup: a tar of plain files whose last one lists every other's size and hash."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any

from pipeline.errors import DataError

MANIFEST = "manifest.json"
FORMAT = 1
CHUNK = 1 << 20
# Whatever an archive says, nothing is written outside of these.
PLACES = ("ledger.db", "git.bundle", "cache", "private", "edited", "secrets", "tool")


class Writer:
    """Files into an open tar, hashed while they are read."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self.files: dict[str, dict[str, Any]] = {}

    def add(self, name: str, path: Path) -> None:
        """One file under `name`; FileNotFoundError, before anything is written, if it is gone."""
        with path.open("rb") as file:
            info = tarfile.TarInfo(name)
            info.size, info.mode = os.fstat(file.fileno()).st_size, 0o600
            hashed = _Hashed(file, info.size)
            self._tar.addfile(info, hashed)
        self.files[name] = {"size": info.size, "sha256": hashed.hexdigest()}

    def close(self, about: Mapping[str, Any]) -> None:
        """The manifest, last: an archive that was cut has none."""
        import io

        told = {"format": FORMAT, **about, "files": self.files}
        text = json.dumps(told, indent=1, sort_keys=True).encode()
        info = tarfile.TarInfo(MANIFEST)
        info.size, info.mode = len(text), 0o600
        self._tar.addfile(info, io.BytesIO(text))


class _Hashed:
    """A file as tarfile reads it; one that grows meanwhile ends where it ended at first."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._left, self._hash = file, size, hashlib.sha256()

    def read(self, count: int = -1) -> bytes:
        data = self._file.read(self._left if count < 0 else min(count, self._left))
        self._left -= len(data)
        self._hash.update(data)
        return data

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


def unpack(file: Path, folder: Path) -> dict[str, Any]:
    """Every file into `folder`, and what the manifest says, all hashes being right.

    DataError for anything else: no archive, cut short, changed, of a newer version, with links,
    with names that lead elsewhere, with a file twice, too many or too few.
    """
    found: dict[str, dict[str, Any]] = {}
    manifest: dict[str, Any] | None = None
    try:
        with tarfile.open(file, "r:gz") as tar:
            for member in tar:
                source = tar.extractfile(member) if member.isfile() else None
                if source is None:
                    raise DataError(f"{file}: {member.name!r} is no plain file: not a backup")
                if member.name == MANIFEST:
                    manifest = json.loads(source.read())
                    continue
                if member.name in found or manifest is not None:
                    raise DataError(f"{file}: {member.name!r} comes twice or too late")
                found[member.name] = _extract(source, folder / _checked(file, member.name))
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{file}: damaged or no backup ({error}); take another one") from None
    return _proved(file, manifest, found)


def _extract(source: IO[bytes], target: Path) -> dict[str, Any]:
    target.parent.mkdir(parents=True, exist_ok=True)
    size, digest = 0, hashlib.sha256()
    with target.open("xb") as out:
        while data := source.read(CHUNK):
            out.write(data)
            digest.update(data)
            size += len(data)
    return {"size": size, "sha256": digest.hexdigest()}


def _checked(file: Path, name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    plain = path.as_posix() == name and "\\" not in name and "\0" not in name
    if not plain or path.is_absolute() or ".." in path.parts or path.parts[0] not in PLACES:
        raise DataError(f"{file}: {name!r} leads out of the backup's own folders; nothing is done")
    return path


def _proved(
    file: Path, manifest: dict[str, Any] | None, found: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    if manifest is None or not isinstance(manifest, dict):
        raise DataError(f"{file}: has no {MANIFEST}: cut short, or no backup; take another one")
    if manifest.get("format") != FORMAT:
        raise DataError(
            f"{file}: format {manifest.get('format')!r}, this version reads {FORMAT}; use the "
            "version of ssl-loop that wrote it"
        )
    listed = manifest.get("files", {})
    bad = sorted(
        name for name in listed.keys() | found.keys() if listed.get(name) != found.get(name)
    )
    if bad:
        more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
        raise DataError(
            f"{file}: {len(bad)} file(s) are missing, too many, or not what was written: "
            f"{', '.join(bad[:5])}{more}; take another backup"
        )
    return manifest
