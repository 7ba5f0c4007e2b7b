"""Services on a real Prefect server: started once, found again, mended, stopped alone."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import httpx
import pytest

from flows.processes.command import wait_until
from flows.services import prefect_server, prefect_worker, stack
from flows.services.daemon import Daemon, read_daemons, taken
from flows.services.webhook import PATH, SECRET_HEADER
from flows.workspace.create import create_workspace
from flows.workspace.credentials import credentials
from pipeline import layout
from pipeline.errors import ServiceError, WorkspaceError
from pipeline.files import write_json
from tests.flows.services.conftest import RUN_S, Place
from tests.support.processes import kill_family


@pytest.mark.services
@pytest.mark.parametrize("name", ["ssl-loop", "ssl-loop/ssl-loop"])
def test_run_by_hand_starts_the_flow_in_the_workspace(place: Place, name: str) -> None:
    assert place.settled()
    before = len(place.runs())
    started = time.time()
    done = place.type_in("deployment", "run", name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert place.ran_again(before)
    when, where = place.runs()[-1]
    assert Path(where) == place.root
    print(f"from typing to the flow's code: {float(when) - started:.1f} s")


@pytest.mark.services
def test_the_watch_is_deployed_and_runs_by_itself_where_it_has_a_folder(place: Place) -> None:
    def scheduled() -> list[bool]:
        found = place.asked("GET", f"/deployments/name/{prefect_server.WATCH_DEPLOYMENT}")
        return [schedule["active"] for schedule in found["schedules"]]

    assert scheduled() == [False]
    for watched in (True, False):
        prefect_server.deploy(
            place.root, place.api, schedule_s=3600, watched=watched, prefect_file=place.prefect_file
        )
        assert scheduled() == [watched]


@pytest.mark.services
def test_event_starts_the_flow(place: Place) -> None:
    assert place.settled()
    before = len(place.runs())
    hook = read_daemons(place.root)[stack.HOOK]
    header = {SECRET_HEADER: credentials(place.root).webhook_secret}
    hooked = {"action": "ANNOTATION_CREATED", "task": {"id": 1}, "project": {"id": 1}}
    with httpx.Client(trust_env=False, timeout=30) as client:
        answer = client.post(hook.url + PATH, headers=header, json=hooked)
    assert answer.status_code == 200, answer.text
    assert place.ran_again(before)
    # The second event, which must not start a run in the midst of the tests that follow.
    assert place.ran_again(before + 1)


@pytest.mark.services
def test_second_run_is_cancelled_while_one_is_under_way(place: Place) -> None:
    assert place.settled()
    hold, before = place.root / "hold.txt", len(place.runs())
    hold.touch()
    try:
        place.type_in("deployment", "run", "ssl-loop")
        assert place.ran_again(before)
        place.type_in("deployment", "run", "ssl-loop")
        assert wait_until(lambda: bool(place.states("CANCELLED")), RUN_S)
    finally:
        hold.unlink()
    assert len(place.runs()) == before + 1


@pytest.mark.services
def test_up_again_keeps_what_runs_and_starts_what_died(place: Place) -> None:
    """Also the guard of the prefect, fastapi and sqlalchemy pins: a scheduled run appears."""
    assert place.settled()
    server, worker = place.pid(stack.PREFECT), place.pid(stack.WORKER)
    hold, before = place.root / "hold.txt", len(place.runs())
    hold.touch()
    place.type_in("deployment", "run", "ssl-loop")
    assert place.ran_again(before)
    kill_family(worker)
    hold.unlink()
    assert {row.name: row.alive for row in stack.status(place.root)}[stack.WORKER] is False

    place.up(schedule_s=10)
    assert place.pid(stack.PREFECT) == server
    assert place.pid(stack.WORKER) != worker
    assert all(row.answering for row in stack.status(place.root))
    # The run that was killed does not block the next one, which nobody but the schedule asks for.
    assert len(place.states("CRASHED")) == 1
    assert place.ran_again(before + 1)
    assert any(run["auto_scheduled"] for run in place.states("RUNNING", "COMPLETED"))
    place.up(schedule_s=3600)


@pytest.mark.services
def test_down_stops_its_own_and_up_comes_back_on_the_same_port(place: Place) -> None:
    bystander = subprocess.Popen(["sleep", "300"], cwd=place.root)
    port = read_daemons(place.root)[stack.PREFECT].port
    try:
        stopped = list(stack.down(place.root))
        assert len(stopped) == 3, stopped
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
    assert not [row for row in stack.status(place.root) if row.alive]
    assert port is not None
    assert not taken(port)
    assert list(stack.down(place.root)) == []
    failed = place.type_in("deployment", "run", "ssl-loop")
    assert failed.returncode != 0  # a server that is down is not replaced by an empty one
    place.up()
    assert read_daemons(place.root)[stack.PREFECT].port == port


def test_up_refuses_a_folder_that_is_no_workspace(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="ssl-loop init"):
        list(stack.up(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.programs
def test_addresses_of_the_ledger_and_the_tool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_LOOP_LEDGER_URL", raising=False)
    assert stack.ledger_url(tmp_path) == f"sqlite:///{tmp_path / layout.LEDGER}"
    monkeypatch.setenv("SSL_LOOP_LEDGER_URL", "postgresql+psycopg://u@h/d")
    assert stack.ledger_url(tmp_path) == "postgresql+psycopg://u@h/d"

    params = create_workspace(tmp_path / "w", class_names=("a", "b")).params()
    with pytest.raises(ServiceError, match="ssl-loop up"):
        stack.annotation_tool(tmp_path / "w", params)
    there = params.model_copy(
        update={"annotation": params.annotation.model_copy(update={"url": "https://ls.example"})}
    )
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "key")
    assert stack.annotation_tool(tmp_path / "w", there) == ("https://ls.example", "key")


def test_links_carry_no_password(tmp_path: Path) -> None:
    row = Daemon(name="label-studio", pid=1, started_at=0, port=8080, workspace=str(tmp_path))
    write_json(tmp_path / ".ssl-loop/services.json", {row.name: row.__dict__})
    password = credentials(tmp_path).label_studio_password
    assert stack.links(tmp_path) == {"Label Studio": "http://127.0.0.1:8080"}
    assert password in stack.addresses(tmp_path)[0]


@pytest.mark.services
def test_worker_begins_again_where_it_holds_too_much_memory(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its own process, between two runs, which both end well."""
    assert place.settled()
    kill_family(place.pid(stack.WORKER))
    monkeypatch.setenv(prefect_worker.LIMIT_VARIABLE, "20")
    place.up()
    worker, log = place.pid(stack.WORKER), stack.log_of(place.root, stack.WORKER)
    said = log.stat().st_size
    assert wait_until(lambda: log.read_bytes()[said:].count(b"begins again at") > 1, RUN_S)

    completed, before = len(place.states("COMPLETED")), len(place.runs())
    place.type_in("deployment", "run", "ssl-loop")
    assert place.ran_again(before)
    assert wait_until(lambda: len(place.states("COMPLETED")) > completed, RUN_S)
    assert place.pid(stack.WORKER) == worker
    assert {row.name: row.alive for row in stack.status(place.root)}[stack.WORKER]
