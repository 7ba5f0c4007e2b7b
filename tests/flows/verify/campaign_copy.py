"""A campaign's copy, and hands that change it past the loop."""

from __future__ import annotations

import csv
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from db.session import open_ledger
from flows.loop import Loop
from flows.workspace.workspace import Workspace
from pipeline import layout
from tests.flows.conftest import CLASSES
from tests.support.fake_annotator import FakeAnnotator


@dataclass(frozen=True)
class Place:
    """A campaign's copy, and hands that change it past the loop."""

    root: Path

    @property
    def people(self) -> FakeAnnotator:
        return FakeAnnotator(self.root.parent / "tool.json", CLASSES)

    def sql(self, statement: str, *values: object) -> None:
        with closing(sqlite3.connect(self.root / layout.LEDGER)) as connection:
            connection.execute(statement, values)
            connection.commit()

    def commit(self, *tags: str) -> None:
        commands = ["commit --quiet --all --no-verify -m by-hand"]
        commands += [f"tag --force --annotate -m by-hand {tag}" for tag in tags]
        for command in commands:
            subprocess.run(["git", *command.split()], cwd=self.root, check=True, stdout=-3)

    def edit_manifest(self, sample_id: str, **values: str) -> None:
        path = self.root / layout.MANIFEST
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            columns, rows = list(reader.fieldnames or ()), list(reader)
        for row in rows:
            row.update(values if row["sample_id"] == sample_id else {})
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    def annotated(self) -> list[dict[str, str]]:
        with (self.root / layout.MANIFEST).open(newline="") as file:
            return [row for row in csv.DictReader(file) if row["origin"] == "annotated"]

    def records(self) -> list[Path]:
        folder = self.root / layout.annotations_dir("day")
        return sorted(folder.rglob("*-accepted.json"))

    def loop(self) -> Loop:
        return Loop(
            workspace=Workspace(self.root),
            ledger=open_ledger(self.root / layout.LEDGER),
            log=lambda line: None,
            annotator_factory=lambda *_: self.people,
        )
