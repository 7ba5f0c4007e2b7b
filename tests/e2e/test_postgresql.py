"""Ledger, Prefect and Label Studio on one PostgreSQL, as `ssl-loop up` starts them: two rounds."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from flows.backup.restore_backup import restore_backup
from flows.backup.write_backup import backup
from flows.loop import open_loop
from flows.services import stack
from flows.services.databases import LABEL_STUDIO_VARIABLE, PREFECT_VARIABLE
from flows.verify import INVARIANTS, verify
from flows.workspace.credentials import PREFECT_TOML, credentials
from flows.workspace.workspace import Workspace, WorkspaceBusyError
from pipeline import layout
from pipeline.errors import ServiceError
from tests.faults.crowd import Crowd
from tests.faults.place import DOMAIN, stage_images
from tests.flows.conftest import make_toy_workspace
from tests.support.ledgers import postgres_cluster

# A first Label Studio migrates for minutes there.
pytestmark = [
    pytest.mark.slow, pytest.mark.services, pytest.mark.postgres, pytest.mark.timeout(900),
]  # fmt: skip
WAIT_S = 600.0
SCHEDULE_S = 5
ASKED = 3


class Databases:
    """Three of one cluster, by the variable that names each to `up`."""

    def __init__(self) -> None:
        cluster = postgres_cluster()
        names = (stack.LEDGER_VARIABLE, PREFECT_VARIABLE, LABEL_STUDIO_VARIABLE)
        self.urls = {name: cluster.database() for name in names}

    def count(self, variable: str, table: str) -> int:
        with psycopg.connect(self.urls[variable]) as connection:
            row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
            assert row
            return int(row[0])


@pytest.fixture
def databases(monkeypatch: pytest.MonkeyPatch) -> Databases:
    found = Databases()
    for name, url in found.urls.items():
        monkeypatch.setenv(name, url)
    return found


@pytest.fixture
def root(databases: Databases, tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "site"
    workspace = make_toy_workspace(root)
    workspace.write_params({"acquire": {"query_size": ASKED}, "loop": {"budget": 2 * ASKED}})
    workspace.commit([layout.PARAMS], "Two rounds")
    stage_images(root, seed=3, pool=2 * ASKED + 2)
    yield root
    for _ in stack.down(root):
        pass


def awaited(holds: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + WAIT_S
    while not (found := holds()):
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.5)
    return found


def unanswered(tool: httpx.Client) -> list[dict[str, Any]]:
    """The tasks of the query that is open, once all are there."""
    projects = tool.get("/api/projects/").json().get("results")
    if not projects:
        return []
    query = {"project": projects[0]["id"], "fields": "all", "page_size": 50}
    tasks = tool.get("/api/tasks", params=query).json().get("tasks", [])
    todo = [task for task in tasks if not task["total_annotations"]]
    return todo if len(todo) == ASKED else []


def judged(root: Path) -> Any:
    try:
        with open_loop(root) as loop, loop.workspace.lock():
            return verify(loop)
    except WorkspaceBusyError:
        return None


def came_back(root: Path, databases: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backup of it all holds the tool's answers, and its ledger goes into another database."""
    with open_loop(root) as loop:
        made = backup(loop, root.parent / "site.tar.gz", with_secrets=True)
    assert made.tool == ""
    fresh = postgres_cluster().database()
    monkeypatch.setenv(stack.LEDGER_VARIABLE, fresh)
    found = restore_backup(root.parent / "site.tar.gz", root.parent / "back", print)
    assert found.annotations == 2 * ASKED
    [kept] = [json.loads((root.parent / "back" / name).read_text()) for name in found.tool]
    assert sum(len(task["annotations"]) for task in kept["tasks"]) == 2 * ASKED
    monkeypatch.setenv(stack.LEDGER_VARIABLE, databases.urls[stack.LEDGER_VARIABLE])
    databases.urls["restored"] = fresh
    assert databases.count("restored", "annotation") == 2 * ASKED


def test_the_whole_loop_on_one_postgresql(
    root: Path, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = time.monotonic()
    for line in stack.up(root, schedule_s=SCHEDULE_S):
        print(line)
    print(f"up after {time.monotonic() - started:.0f} s")
    token = credentials(root).label_studio_token
    url = stack.read_daemons(root)[stack.LABEL_STUDIO].url
    headers = {"Authorization": f"Token {token}"}
    with httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False) as tool:
        for round_index in range(2):
            Crowd(tool, 2).answer(awaited(lambda: unanswered(tool)))
            tag = f"{DOMAIN}/r{round_index}-labels"
            awaited(lambda tag=tag: tag in Workspace(root).tags_merged())
            print(f"{tag} after {time.monotonic() - started:.0f} s")
    awaited(lambda: f"{DOMAIN}/final" in Workspace(root).tags_merged())
    report = awaited(lambda: judged(root))
    assert (report.findings, report.unchecked) == ((), {})
    assert len(report.checked) == len(INVARIANTS)
    assert databases.count(stack.LEDGER_VARIABLE, "annotation") == 2 * ASKED
    assert databases.count(PREFECT_VARIABLE, "flow_run") >= 2
    assert databases.count(LABEL_STUDIO_VARIABLE, "task_completion") == 2 * ASKED
    own = (root / layout.PRIVATE).rglob("*")
    assert [path.name for path in own if path.suffix in (".db", ".sqlite3")] == []
    assert (root / PREFECT_TOML).stat().st_mode & 0o077 == 0
    came_back(root, databases, monkeypatch)
    monkeypatch.delenv(PREFECT_VARIABLE)
    with pytest.raises(ServiceError, match=r"is a PostgreSQL, and .* is not set"):
        list(stack.up(root, schedule_s=SCHEDULE_S))
    print(f"all after {time.monotonic() - started:.0f} s")
