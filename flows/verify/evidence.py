"""What the invariants are judged by: git, DVC, ledger, records and files, each read once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from db.repository import annotation_versions, query_items, rounds
from db.session import session_scope
from db.tables import Annotation, QueryItem
from flows.ledger.records import DAMAGED, AnnotationRecord, record_of
from flows.loop import Loop
from flows.workspace.dvc.dvc_cache import Cache, Out, cache_of, outs_at
from flows.workspace.dvc.dvc_files import DVC_LOCK, LockedStage, locked_stages
from flows.workspace.position import Position, RoundTag, ingest_tag, round_tags
from pipeline import layout
from pipeline.errors import DataError
from pipeline.files import sha256_file
from pipeline.reading import read
from pipeline.records.manifest import Sample
from pipeline.runtime.progress import Progress

One = TypeVar("One")
Version = tuple[int, datetime, str]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is not as it must be."""

    where: str
    """A file, a tag, an item, or a row of the ledger."""
    what: str
    remedy: str
    invariant: str = ""
    """Its row in `INVARIANTS`; filled in by `verify`."""


class UncheckedError(Exception):
    """An invariant that cannot be judged now, and why."""


@dataclass(frozen=True, kw_only=True)
class KeptRecord:
    """A record as a file, waiting or merged; `record` None where the file cannot be read."""

    path: Path
    merged: bool
    record: AnnotationRecord | None
    why: str = ""


class Evidence:
    """One workspace under its lock, as it is now."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.root = loop.root
        self.workspace = loop.workspace
        self._manifests: dict[str, list[Sample]] = {}
        self._outs: dict[str, list[Out]] = {}
        self._hashes: dict[tuple[Path, str], str] = {}

    def each(self, label: str, things: Iterable[One]) -> Iterator[One]:
        """The things one by one, with a progress bar where that takes long."""
        todo = list(things)
        with Progress(label, len(todo)) as progress:
            for one in todo:
                yield one
                progress.advance()

    # --- git and DVC

    @cached_property
    def tags(self) -> list[str]:
        """The loop's tags reachable from HEAD, oldest first."""
        begins = tuple(f"{domain}/" for domain in self.loop.read_params().domains)
        return [tag for tag in self.workspace.tags_merged() if tag.startswith(begins)]

    @cached_property
    def domains(self) -> list[str]:
        """Domains that were taken in, in order of arrival."""
        return [d for d in self.loop.read_params().domains if ingest_tag(d) in self.tags]

    @cached_property
    def rounds(self) -> list[RoundTag]:
        """Of every computed round."""
        return round_tags(self.domains, self.tags)

    @cached_property
    def position(self) -> Position | None:
        """Where the loop stands."""
        return self.loop.position()

    @cached_property
    def cache(self) -> Cache:
        """DVC's store on this machine."""
        return cache_of(self.workspace)

    def outs(self, revision: str) -> list[Out]:
        """What DVC keeps at a revision."""
        return _once(self._outs, revision, lambda: outs_at(self.workspace.git, revision))

    def manifest(self, revision: str = "HEAD") -> list[Sample]:
        """The manifest at a revision."""

        def read() -> list[Sample]:
            if not self.workspace.exists_at(revision, layout.MANIFEST):
                return []
            return self.workspace.manifest_at(revision)

        return _once(self._manifests, revision, read)

    def yaml(self, revision: str, path: Path) -> dict[str, Any]:
        """A YAML file of git's at a revision; {} where there is none."""
        if not self.workspace.exists_at(revision, path):
            return {}
        loaded: dict[str, Any] = self.workspace.file_at(revision, path).yaml()
        return loaded

    def lock(self, revision: str) -> dict[str, LockedStage]:
        """The stages of dvc.lock at a revision."""
        if not self.workspace.exists_at(revision, DVC_LOCK):
            return {}
        return locked_stages(self.workspace.file_at(revision, DVC_LOCK))

    # --- files

    def sha256(self, path: Path) -> str:
        """Of a file's content; "" where there is no such file."""
        return self._hash(path, "sha256")

    def md5(self, path: Path) -> str:
        """As `sha256`: DVC's name of a content."""
        return self._hash(path, "md5")

    def _hash(self, path: Path, kind: str) -> str:
        def compute() -> str:
            if not path.is_file():
                return ""
            if kind == "sha256":
                return sha256_file(path)
            with path.open("rb") as file:
                found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
            return found.hexdigest()

        return _once(self._hashes, (path, kind), compute)

    # --- answers

    @cached_property
    def versions(self) -> list[Annotation]:
        """The ledger's annotations in the order in which they were recorded."""
        with session_scope(self.loop.ledger, read_only=True) as session:
            return sorted(annotation_versions(session), key=lambda row: row.id)

    @cached_property
    def items(self) -> dict[str, QueryItem]:
        """The ledger's query items."""
        with session_scope(self.loop.ledger, read_only=True) as session:
            return {
                item.item_id: item
                for domain in self.domains
                for round_index in rounds(session, domain)
                for item in query_items(session, domain, round_index)
            }

    @cached_property
    def kept(self) -> list[KeptRecord]:
        """Every record that lies in the inbox or in the data folders."""
        found = [_kept(path, merged=False) for path in sorted(self._inbox_records())]
        for domain in self.domains:
            folder = self.root / layout.annotations_dir(domain)
            found += [_kept(path, merged=True) for path in sorted(folder.rglob("*-*.json"))]
        return found

    def _inbox_records(self) -> Iterator[Path]:
        return (self.root / layout.INBOX).glob("*-*.json")

    @cached_property
    def merged(self) -> set[Version]:
        """Versions whose record a merge has put into the data."""
        return {version_of(kept.record) for kept in self.kept if kept.merged and kept.record}

    @cached_property
    def records(self) -> dict[str, AnnotationRecord]:
        """`file name -> record` of all that can be read."""
        return {kept.path.name: kept.record for kept in self.kept if kept.record is not None}


def version_of(answer: Annotation | AnnotationRecord) -> Version:
    """What makes a version one: the tool's id and time, and what it gave, in row and record."""
    when = answer.updated_at
    moment = datetime.fromisoformat(when) if isinstance(when, str) else when
    return answer.tool_annotation_id, moment.astimezone(UTC), answer.raw_sha256


def _kept(path: Path, *, merged: bool) -> KeptRecord:
    try:
        record = record_of(read(path, remedy=DAMAGED))
    except DataError as error:
        return KeptRecord(path=path, merged=merged, record=None, why=str(error))
    return KeptRecord(path=path, merged=merged, record=record)


Key = TypeVar("Key")


def _once(known: dict[Key, One], key: Key, read: Callable[[], One]) -> One:
    if key not in known:
        known[key] = read()
    return known[key]
