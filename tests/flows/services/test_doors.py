"""Who gets in: a stranger's page in the owner's browser, another user of the machine, the owner.

The attack is the one that once worked: a run whose `command` the worker executes as the owner.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows.processes.command import wait_until
from flows.services import prefect_server, stack
from flows.services.daemon import HOST, read_daemons
from flows.workspace.credentials import SECRETS, credentials
from pipeline import layout
from pipeline.errors import ServiceError
from tests.flows.services.conftest import RUN_S, Place
from tests.support.another_user import readable_by_nobody, run_as_nobody
from tests.support.browser import chromium_page, log_into_prefect
from tests.support.secret_search import leaks

pytestmark = pytest.mark.services
STRANGER = "stranger.example"
COMMANDS = ("command", "env", "working_dir", "stream_output")

# As a page would: find the deployment, then a run of it that brings its own command.
_PAGE = """
async (api) => {
  const marked = {job_variables: {command: "touch %(proof)s"}};
  const ask = async (path, sent, options) => {
    try {
      const body = JSON.stringify(sent);
      const answer = await fetch(api + path, {method: "POST", body, ...options});
      return [answer.type, answer.status, (await answer.text()).slice(0, 200)];
    } catch (error) { return ["refused", String(error)]; }
  };
  const json = {headers: {"Content-Type": "application/json"}};
  const simple = {mode: "no-cors", credentials: "include"};
  const socket = (path, protocols) => new Promise(resolve => {
    const said = [];
    const opened = new WebSocket(api.replace("http", "ws") + path, protocols);
    opened.onopen = () => { opened.send(JSON.stringify({type: "auth", token: "guess"})); };
    opened.onmessage = message => { said.push(message.data); };
    opened.onclose = () => resolve(said);
    opened.onerror = () => resolve(said);
  });
  return {
    found: await ask("/deployments/filter", {}, json),
    run: await ask("/deployments/%(id)s/create_flow_run", marked, json),
    simple: await ask("/deployments/%(id)s/create_flow_run", marked, simple),
    event: await ask("/events", [], simple),
    sockets: [await socket("/events/in"), await socket("/events/in", "prefect"),
              await socket("/events/out", "prefect"), await socket("/logs/out", "prefect")],
  };
}
"""

_ATTACK = """
told, found = json.load(sys.stdin), []
for method, path, body in told["requests"]:
    request = urllib.request.Request(told["url"] + path, method=method,
        data=json.dumps(body).encode(), headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            found.append([answer.status, path])
    except urllib.error.HTTPError as error:
        found.append([error.code, path])
print(json.dumps(found))
"""


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<title>kittens</title>")

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def other_origin() -> Iterator[str]:
    server = ThreadingHTTPServer((HOST, 0), _Page)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://{HOST}:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def deployment_id(place: Place) -> str:
    return str(place.asked("GET", f"/deployments/name/{prefect_server.DEPLOYMENT}")["id"])


def all_runs(place: Place) -> set[str]:
    found = place.asked("POST", "/flow_runs/filter", {})
    return {run["id"] for run in found if not run["auto_scheduled"]}


@pytest.mark.browser
def test_a_page_of_another_origin_in_the_owners_browser(place: Place, other_origin: str) -> None:
    before, proof = all_runs(place), place.root / "executed"
    script = _PAGE % {"proof": proof, "id": deployment_id(place)}
    url = place.api.url
    with chromium_page(f"--host-resolver-rules=MAP {STRANGER} {HOST}") as page:
        log_into_prefect(page, url, place.api.auth)  # the owner, first, in the same browser
        page.goto(f"{url}/deployments")
        page.get_by_text("2 Deployments").wait_for()

        page.goto(other_origin)
        found = page.evaluate(script, f"{url}/api")
        # The name of a stranger's domain that now points here: its own origin, to the browser.
        rebound = page.goto(url.replace(HOST, STRANGER))
        under_its_name = page.evaluate(script, f"{url.replace(HOST, STRANGER)}/api")
    assert found["found"][0] == found["run"][0] == "refused", found
    assert found["sockets"] == [[], [], [], []], found
    assert rebound.status == 400
    assert {under_its_name[name][1] for name in ("found", "run", "event")} == {400}
    assert under_its_name["sockets"] == [[], [], [], []]
    assert all_runs(place) == before
    assert not proof.exists()


def test_a_page_is_told_nothing_and_only_our_own_may_ask(place: Place) -> None:
    for origin, allowed in (
        ("http://evil.example", None),
        ("null", None),
        (f"http://{HOST}:1", None),
        (place.api.url, place.api.url),
    ):
        headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        with httpx.Client(trust_env=False, timeout=30, headers=headers) as client:
            answer = client.options(f"{place.api.url}/api/deployments/filter")
        assert answer.headers.get("access-control-allow-origin") == allowed


def test_another_user_starts_nothing(place: Place) -> None:
    before, deployment = all_runs(place), deployment_id(place)
    body = {"job_variables": {"command": "touch /tmp/executed"}}
    requests = [
        ("POST", "/api/deployments/filter", {}),
        ("POST", f"/api/deployments/{deployment}/create_flow_run", body),
        ("POST", "/api/flow_runs/", {"flow_id": deployment, **body}),
        ("PATCH", f"/api/work_pools/{prefect_server.POOL}", {"base_job_template": {}}),
        ("POST", "/api/events", []),
        ("POST", "/api/admin/database/clear", {"confirm": True}),
        ("POST", "/api//deployments/filter", {}),
        ("POST", "/api/health", {}),
        ("GET", "/api/health/../deployments", {}),
    ]
    found = run_as_nobody(_ATTACK, {"url": place.api.url, "requests": requests})
    assert {status for status, _ in found} <= {401, 404, 405}, found
    assert [status for status, _ in found][:6] == [401] * 6
    assert all_runs(place) == before


@pytest.mark.parametrize("name", COMMANDS)
def test_no_run_says_how_it_is_started(place: Place, name: str) -> None:
    before, path = all_runs(place), f"/deployments/{deployment_id(place)}"
    proof = place.root / "executed"
    value = {"env": {"PATH": "/elsewhere"}, "working_dir": "/"}.get(name, f"touch {proof}")
    variables = {"job_variables": {name: value}}
    with pytest.raises(ServiceError, match="422"):
        place.asked("POST", f"{path}/create_flow_run", variables)
    try:  # the deployment takes them, but then it starts nothing
        place.asked("PATCH", path, variables)
        with pytest.raises(ServiceError, match="422"):
            place.asked("POST", f"{path}/create_flow_run", {})
    finally:
        place.asked("PATCH", path, {"job_variables": {}})
    assert all_runs(place) == before
    assert not proof.exists()


def test_another_user_reads_nothing_that_is_private(place: Place) -> None:
    private = [path for path in (place.root / layout.PRIVATE).rglob("*") if path.is_file()]
    assert {"secrets.json", "prefect.db", "worker.log"} <= {path.name for path in private}
    control = place.root / layout.PARAMS
    assert readable_by_nobody([*private, place.root / "prefect.toml", control]) == {control}


def test_what_worker_and_runs_say_over_the_websocket_arrives(place: Place) -> None:
    """Heartbeats go the same way: without them a living run would be called crashed."""
    asked = {"filter": {"event": {"name": ["prefect.worker.executed-flow-run"]}}}

    def arrived() -> int:
        return len(place.asked("POST", "/events/filter", asked)["events"])

    before = arrived()
    place.type_in("deployment", "run", "ssl-loop")
    assert wait_until(lambda: arrived() > before, RUN_S, every_s=0.5)


def test_secrets_are_in_no_command_line_log_or_database(place: Place) -> None:
    place.type_in("deployment", "run", "ssl-loop")
    assert place.settled()
    assert leaks(place.root) == []
    log, password = stack.logs(place.root) / "planted.log", place.api.auth.partition(":")[2]
    log.write_text(f"... {password}")
    assert leaks(place.root) == [f"prefect_password in {log}"]
    log.unlink()


def test_a_server_of_an_older_version_gets_its_login_at_the_next_up(place: Place) -> None:
    """It has no login, its secrets are of the time before, and others may look in."""
    old = json.loads((place.root / SECRETS).read_text())
    old.pop("prefect_password")
    (place.root / SECRETS).write_text(json.dumps(old))
    (place.root / layout.PRIVATE).chmod(0o755)
    before = place.api.auth
    server, worker = place.pid(stack.PREFECT), place.pid(stack.WORKER)
    place.up()
    assert place.api.auth not in ("", before)
    assert place.pid(stack.PREFECT) != server
    assert place.pid(stack.WORKER) != worker
    assert (place.root / layout.PRIVATE).stat().st_mode & 0o777 == 0o700
    with httpx.Client(trust_env=False, timeout=30) as client:
        assert client.post(f"{place.api.url}/api/flow_runs/filter", json={}).status_code == 401
    assert isinstance(place.states("RUNNING"), list)
    assert all(daemon.alive for daemon in read_daemons(place.root).values())


def test_closed_again_whoever_opened_it(tmp_path: Path) -> None:
    secret = credentials(tmp_path)
    for path in (tmp_path / layout.PRIVATE, tmp_path / SECRETS):
        path.chmod(0o777)
    assert credentials(tmp_path) == secret
    assert (tmp_path / layout.PRIVATE).stat().st_mode & 0o777 == 0o700
    assert (tmp_path / SECRETS).stat().st_mode & 0o777 == 0o600
