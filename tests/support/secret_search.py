"""Where a workspace's secrets may not be: command lines, logs, report, git, Prefect's database."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil

from flows.services import prefect_server, stack
from flows.workspace.credentials import SECRETS
from pipeline import layout

OPEN = "label_studio_email"  # a name, not a secret


def leaks(root: Path) -> list[str]:
    """`secret in place` for every secret of the workspace that is found where it must not be."""
    known = json.loads((root / SECRETS).read_text())
    secrets = {name: value for name, value in known.items() if value and name != OPEN}
    assert len(secrets) >= 4
    return [
        f"{name} in {place}"
        for place, text in _places(root)
        for name, value in secrets.items()
        if value.encode() in text
    ]


def _places(root: Path) -> Iterator[tuple[str, bytes]]:
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        yield f"process {line}", line.encode(errors="surrogateescape")
    for log in stack.logs(root).glob("*.log*"):
        yield str(log), log.read_bytes()
    report = root / layout.REPORT
    if report.exists():
        yield str(report), report.read_bytes()
    ignored = ["git", "ls-files", "-z", "--others", "--exclude-standard"]
    for name in subprocess.check_output(ignored, cwd=root).split(b"\0"):
        if name:
            yield name.decode(errors="replace"), (root / name.decode()).read_bytes()
    history = ["git", "log", "--all", "--patch", "--text"]
    yield "git's history", subprocess.check_output(history, cwd=root)
    with closing(sqlite3.connect(root / prefect_server.HOME / "prefect.db")) as database:
        yield "Prefect's database", "\n".join(database.iterdump()).encode()
