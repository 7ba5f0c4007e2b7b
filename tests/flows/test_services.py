"""Services on a real Prefect server: started once, found again, mended, stopped alone.

The flow is a toy with the deployment's own file, so that what is tested is prefect.yaml itself.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from flows import prefect_server, services
from flows.credentials import credentials
from flows.daemons import Daemon, read_daemons, taken
from flows.processes import child_environment, wait_until
from flows.webhook import PATH, SECRET_HEADER
from flows.workspace import Workspace, template_file
from pipeline import layout
from pipeline.errors import ServiceError, WorkspaceError
from pipeline.files import write_json

TOY = '''
import os, time
from pathlib import Path
from prefect import flow

@flow(name="ssl-loop")
def ssl_loop(workspace: str = ".") -> str:
    """Notes that it ran, and where; takes as long as a file says."""
    with open("ran.txt", "a") as file:
        print(time.time(), os.getcwd(), file=file)
    hold = Path("hold.txt")
    while hold.exists():
        time.sleep(0.1)
    return "waiting 3/8"
'''
RUN_S = 90.0  # a run starts within 15 s on an idle machine; tests share theirs
PROGRAM = str(Path(sys.executable).with_name("prefect"))


class Place:
    """A workspace whose deployment is the toy."""

    def __init__(self, folder: Path) -> None:
        self.root = Workspace.create(folder / "workspace", class_names=("a", "b")).root
        (folder / "toy_flow.py").write_text(TOY)
        text = template_file(prefect_server.DEPLOYMENT_FILE).read_text()
        self.prefect_file = folder / "prefect.yaml"
        toy = text.replace("flows.ssl_loop.ssl_loop", "toy_flow.ssl_loop")
        assert toy != text
        self.prefect_file.write_text(toy)

    def up(self, schedule_s: int = 3600) -> list[str]:
        return list(
            services.up(
                self.root,
                schedule_s=schedule_s,
                label_studio=False,
                prefect_file=self.prefect_file,
            )
        )

    def pid(self, name: str) -> int:
        return read_daemons(self.root)[name].pid

    def runs(self) -> list[list[str]]:
        file = self.root / "ran.txt"
        return [line.split() for line in file.read_text().splitlines()] if file.exists() else []

    def ran_again(self, before: int) -> bool:
        return wait_until(lambda: len(self.runs()) > before, RUN_S)

    def settled(self) -> bool:
        """No run is under way: the next one is not cancelled as the second."""
        return wait_until(lambda: not self.states("RUNNING", "PENDING"), RUN_S)

    def states(self, *types: str) -> list[dict[str, Any]]:
        url = read_daemons(self.root)[services.PREFECT].url
        body = {"flow_runs": {"state": {"type": {"any_": list(types)}}}}
        answer = httpx.post(f"{url}/api/flow_runs/filter", json=body, trust_env=False, timeout=30)
        return answer.raise_for_status().json()

    def type_in(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """What a user types in the workspace, with nothing set but the search path."""
        return subprocess.run(
            [PROGRAM, *arguments],
            cwd=self.root,
            env=child_environment(),
            capture_output=True,
            text=True,
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("services")
    made = Place(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        patch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")  # a stranger's, to be ignored
        patch.setattr(services, "PREFECT_PORT", 4310)
        made.up()
        patch.delenv("PREFECT_API_URL")
        yield made
        list(services.down(made.root))


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
    url = read_daemons(place.root)[services.PREFECT].url

    def scheduled() -> list[bool]:
        with httpx.Client(trust_env=False, timeout=30) as client:
            found = client.get(f"{url}/api/deployments/name/{prefect_server.WATCH_DEPLOYMENT}")
        return [schedule["active"] for schedule in found.raise_for_status().json()["schedules"]]

    assert scheduled() == [False]
    for watched in (True, False):
        prefect_server.deploy(
            place.root, url, schedule_s=3600, watched=watched, prefect_file=place.prefect_file
        )
        assert scheduled() == [watched]


@pytest.mark.services
def test_event_starts_the_flow(place: Place) -> None:
    assert place.settled()
    before = len(place.runs())
    hook = read_daemons(place.root)[services.HOOK]
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
    server, worker = place.pid(services.PREFECT), place.pid(services.WORKER)
    hold, before = place.root / "hold.txt", len(place.runs())
    hold.touch()
    place.type_in("deployment", "run", "ssl-loop")
    assert place.ran_again(before)
    family = [psutil.Process(worker), *psutil.Process(worker).children(recursive=True)]
    for process in family:
        process.kill()
    psutil.wait_procs(family)
    hold.unlink()
    assert {row.name: row.alive for row in services.status(place.root)}[services.WORKER] is False

    place.up(schedule_s=10)
    assert place.pid(services.PREFECT) == server
    assert place.pid(services.WORKER) != worker
    assert all(row.answering for row in services.status(place.root))
    # The run that was killed does not block the next one, which nobody but the schedule asks for.
    assert len(place.states("CRASHED")) == 1
    assert place.ran_again(before + 1)
    assert any(run["auto_scheduled"] for run in place.states("RUNNING", "COMPLETED"))
    place.up(schedule_s=3600)


@pytest.mark.services
def test_down_stops_its_own_and_up_comes_back_on_the_same_port(place: Place) -> None:
    bystander = subprocess.Popen(["sleep", "300"], cwd=place.root)
    port = read_daemons(place.root)[services.PREFECT].port
    try:
        stopped = list(services.down(place.root))
        assert len(stopped) == 3, stopped
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
    assert not [row for row in services.status(place.root) if row.alive]
    assert port is not None
    assert not taken(port)
    assert list(services.down(place.root)) == []
    failed = place.type_in("deployment", "run", "ssl-loop")
    assert failed.returncode != 0  # a server that is down is not replaced by an empty one
    place.up()
    assert read_daemons(place.root)[services.PREFECT].port == port


def test_up_refuses_a_folder_that_is_no_workspace(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="ssl-loop init"):
        list(services.up(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_addresses_of_the_ledger_and_the_tool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_LOOP_LEDGER_URL", raising=False)
    assert services.ledger_url(tmp_path) == f"sqlite:///{tmp_path / layout.LEDGER}"
    monkeypatch.setenv("SSL_LOOP_LEDGER_URL", "postgresql+psycopg://u@h/d")
    assert services.ledger_url(tmp_path) == "postgresql+psycopg://u@h/d"

    params = Workspace.create(tmp_path / "w", class_names=("a", "b")).params()
    with pytest.raises(ServiceError, match="ssl-loop up"):
        services.annotation_tool(tmp_path / "w", params)
    there = params.model_copy(
        update={"annotation": params.annotation.model_copy(update={"url": "https://ls.example"})}
    )
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "key")
    assert services.annotation_tool(tmp_path / "w", there) == ("https://ls.example", "key")


def test_links_carry_no_password(tmp_path: Path) -> None:
    row = Daemon(name="label-studio", pid=1, started_at=0, port=8080, workspace=str(tmp_path))
    write_json(tmp_path / ".ssl-loop/services.json", {row.name: row.__dict__})
    password = credentials(tmp_path).label_studio_password
    assert services.links(tmp_path) == {"Label Studio": "http://127.0.0.1:8080"}
    assert password in services.addresses(tmp_path)[0]
