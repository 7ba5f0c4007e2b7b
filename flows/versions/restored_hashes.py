"""Proof that a folder holds a tagged state: every file's hash against what git, DVC and the
manifest say at that tag.

Read from the files themselves, not from DVC's memory of them: that calls a spoilt file up to date.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.workspace.dvc.dvc_cache import Cache, Out
from flows.workspace.git.commands import Git, blob_hash
from pipeline import layout
from pipeline.errors import WorkspaceError
from pipeline.files import sha256_file
from pipeline.records.manifest import parse_manifest

_SYMLINK, _SUBMODULE = "120000", "160000"
_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What was compared and found equal."""

    tag: str
    commit: str
    git_files: int  # with git's blob hashes
    data_files: int  # with DVC's MD5
    data_bytes: int
    images: int  # with the manifest's SHA-256, as the next
    masks: int
    models: dict[str, str]  # weights -> their SHA-256
    params_sha256: str
    to_be_made: tuple[str, ...]  # outs that no remote keeps: predictions of the tagged model

    def in_words(self) -> list[str]:
        """For people, one line per kind of evidence."""
        lines = [
            f"{self.git_files} files are git's at {self.tag} ({self.commit[:10]}), by blob hash",
            f"{self.data_files} files of data and models ({self.data_bytes / 1e6:.1f} MB) are "
            "DVC's, by MD5, with none missing and none too many",
            f"{self.images} images and {self.masks} masks are the manifest's, by SHA-256",
            f"params.yaml {self.params_sha256}",
            *(f"{path} {sha256}" for path, sha256 in self.models.items()),
        ]
        if self.to_be_made:
            lines.append(
                f"not kept by remotes, made again by the next publish or `dvc repro predict`: "
                f"{', '.join(self.to_be_made)}"
            )
        return lines


def prove(root: Path, tag: str, outs: Sequence[Out], cache: Cache) -> Proof:
    """Compare everything; WorkspaceError names the files that are not what HEAD says."""
    git = Git(root, root / layout.PRIVATE / "git-writing")
    lacking = tuple(out.path for out in outs if out.remade and cache.missing([out]))
    present = [out for out in outs if out.path not in lacking]
    files = git.files_at("HEAD")
    samples = parse_manifest(git.show("HEAD", layout.MANIFEST))
    bad = [*wrong_in_git(root, files), *wrong_in_dvc(root, present, cache)]
    masks = [sample for sample in samples if sample.mask]
    expected = {s.image: s.image_sha256 for s in samples} | {s.mask: s.mask_sha256 for s in masks}
    bad += [
        f"{path}: not the manifest's"
        for path, sha256 in expected.items()
        if not (root / path).is_file() or sha256_file(root / path) != sha256
    ]
    if bad:
        more = f"\n  and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        raise WorkspaceError(
            f"{tag}: {len(bad)} file(s) are not what was tagged; DVC's cache ({cache.folder}) may "
            "be spoilt: remove what it holds of them and restore again, so that they come from "
            "the remote:\n  " + "\n  ".join(bad[:_SHOWN]) + more
        )
    data = [root / path for out in present for path in cache.files(out) or ()]
    return Proof(
        tag=tag,
        commit=git.head(),
        git_files=len(files),
        data_files=len(data),
        data_bytes=sum(path.stat().st_size for path in data),
        images=len(samples),
        masks=len(masks),
        models={
            path.relative_to(root).as_posix(): sha256_file(path)
            for path in sorted((root / layout.MODELS).rglob("*.safetensors"))
        },
        params_sha256=sha256_file(root / layout.PARAMS),
        to_be_made=lacking,
    )


def wrong_in_git(root: Path, files: dict[str, tuple[str, str]]) -> Iterator[str]:
    """`path: not git's` for every file that is not what git has, by blob hash."""
    git = Git(root, root / layout.PRIVATE / "git-writing")
    for path, (mode, blob) in files.items():
        if mode == _SUBMODULE:
            continue
        place = git.root / path
        if mode == _SYMLINK:
            content = os.fsencode(place.readlink()) if place.is_symlink() else b""
        else:
            content = place.read_bytes() if place.is_file() else b""
        there = place.exists() or place.is_symlink()
        same = there and blob_hash(content, blob) == blob
        # A filter's file is compared as git would take it in again.
        if not (same or (there and git.says("hash-object", "--", path) == blob)):
            yield f"{path}: not git's"


def wrong_in_dvc(root: Path, outs: Sequence[Out], cache: Cache) -> Iterator[str]:
    """`path: why` for every file that is not what DVC has, by MD5, or is too many."""
    for out in outs:
        listing = cache.object(out.md5)
        if out.is_folder and f"{_md5(listing)}.dir" != out.md5:
            yield f"{out.path}: the cache's list of its files is spoilt ({listing})"
            continue
        expected = cache.files(out) or {}
        for path, md5 in expected.items():
            if not (root / path).is_file() or _md5(root / path) != md5:
                yield f"{path}: not DVC's (cache object {cache.object(md5)})"
        if out.is_folder:
            found = {p.relative_to(root).as_posix() for p in _files(root / out.path)}
            yield from (f"{path}: too many" for path in sorted(found - set(expected)))


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _md5(path: Path) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        # DVC's name of a content, not a safeguard: the manifest's SHA-256 are compared as well.
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
