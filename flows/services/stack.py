"""The services of one workspace on one machine: start, find again, stop.

A Prefect server and its worker, Label Studio, the receiver of its hook, and the backend of click
to mask; all on loopback, all they keep lies in .ssl-loop. What runs is kept, what died is started
again.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from flows.annotators import ANNOTATORS
from flows.annotators.annotator import Annotator, Project
from flows.ledger.domain_projects import own_projects
from flows.processes.command import end, started_with, wait_until
from flows.services import label_studio_server, prefect_server, webhook
from flows.services.daemon import (
    LOGS,
    OWN_UMASK,
    Daemon,
    DaemonPlace,
    alone,
    answers,
    await_answer,
    free_port,
    launch,
    log_of,
    read_daemons,
    stop_all,
    tail,
)
from flows.services.databases import label_studio_database
from flows.workspace.credentials import PREFECT_TOML, api_key, credentials
from flows.workspace.identity import read_identity
from flows.workspace.workspace import Workspace
from pipeline import layout
from pipeline.config.params import Params
from pipeline.errors import ServiceError, SslLoopError

PREFECT, WORKER, LABEL_STUDIO, HOOK = "prefect-server", "worker", "label-studio", "webhook"
ASSIST = "assist"  # click to mask
PREFECT_PORT, LABEL_STUDIO_PORT, HOOK_PORT, ASSIST_PORT = 4200, 8080, 8089, 8090
HEALTH = {PREFECT: "/api/health", LABEL_STUDIO: "/health", HOOK: "/health", ASSIST: "/health"}
# With room for a busy machine: seconds are usual, a first Label Studio migrates for a minute.
PATIENCE_S = {PREFECT: 300.0, WORKER: 300.0, LABEL_STUDIO: 600.0, HOOK: 60.0, ASSIST: 60.0}
LABEL_STUDIO_DATA = layout.PRIVATE / "label-studio"
LEDGER_VARIABLE = "SSL_LOOP_LEDGER_URL"
# In the environment of Prefect's programs: which settings they were started with.
SETTINGS_VARIABLE = "SSL_LOOP_PREFECT_SETTINGS"


@dataclass(frozen=True, kw_only=True)
class ServiceStatus:
    """One service as it is now."""

    name: str
    pid: int
    alive: bool
    answering: bool  # as `alive` for those that do not listen
    url: str | None


def up(
    root: Path,
    *,
    schedule_s: int = 60,
    label_studio: bool = True,
    prefect_file: Path | None = None,
    on_wait: Callable[[str], object] = lambda name: None,
) -> Iterator[str]:
    """Start what does not run and deploy the loop; yields a line as each is ready.

    ServiceError, with the end of its log, when one does not come up; what came up stays, and the
    next `up` goes on from there. `on_wait` is told, some times a second, what is waited for.
    """
    workspace = Workspace(root)
    workspace.require()
    root = workspace.root
    params = workspace.params()
    own = label_studio and params.annotation.url is None
    started = time.monotonic()

    def ready(daemon: Daemon, what: str) -> str:
        name = daemon.name
        await_answer(
            daemon,
            HEALTH[name],
            log=log_of(root, name),
            timeout_s=PATIENCE_S[name],
            on_wait=lambda: on_wait(name),
        )
        return f"{what}: {daemon.url} ({time.monotonic() - started:.0f} s)"

    with alone(root):
        prefect_server.require_same_database(root)
        end(_outdated(root))
        server = _keep_or_start(root, PREFECT, PREFECT_PORT)
        studio = _keep_or_start(root, LABEL_STUDIO, LABEL_STUDIO_PORT) if own else None
        hook = _keep_or_start(root, HOOK, HOOK_PORT)
        clicks = own and params.annotation.assist
        assist = _keep_or_start(root, ASSIST, ASSIST_PORT) if clicks else None
        yield ready(server, "Prefect server")
        api = _api(root)
        prefect_server.make_pool(api, root)
        prefect_server.crash_lost_runs(api, root)
        _keep_or_start_worker(root)
        prefect_server.watch_for_lost_runs(api)
        _deploy(workspace, api, schedule_s, prefect_file)
        _await_worker(root, api, on_wait)
        yield f"worker and deployment, every {schedule_s} s ({time.monotonic() - started:.0f} s)"
        yield ready(hook, "webhook receiver")
        yield from _desk_ready(root, params, ready, studio, assist) if studio else ()


def down(root: Path) -> Iterator[str]:
    """Stop what `up` started here, and nothing else; yields a line for each."""
    root = root.resolve()
    with alone(root):
        for daemon in stop_all(root):
            yield f"stopped {daemon.name} (process {daemon.pid})"


def status(root: Path) -> list[ServiceStatus]:
    """All services that were ever started here."""
    return [
        ServiceStatus(
            name=daemon.name,
            pid=daemon.pid,
            alive=daemon.alive,
            answering=daemon.alive and _answers(daemon),
            url=daemon.url if daemon.port else None,
        )
        for daemon in read_daemons(root).values()
    ]


def links(root: Path) -> dict[str, str]:
    """The pages for people, by name."""
    names = {PREFECT: "Prefect", LABEL_STUDIO: "Label Studio"}
    known = read_daemons(root)
    return {names[name]: known[name].url for name in names if name in known}


def addresses(root: Path) -> list[str]:
    """The pages for people and how to log in: for the terminal, since a password is in it."""
    secret = credentials(root)
    login = f"log in as {secret.label_studio_email}, password {secret.label_studio_password}"
    prefect = f"log in with {prefect_server.USER}:{secret.prefect_password}"
    hints = {"Prefect": prefect, "Label Studio": login}
    return [f"{name}: {url} ({hints[name]})" for name, url in links(root).items()]


def logs(root: Path) -> Path:
    """The folder where all of them write."""
    return root / LOGS


def last_line(root: Path) -> str:
    """What the worker said last."""
    return tail(log_of(root, WORKER), 1).strip()


# --- what the loop asks


def ledger_url(root: Path) -> str:
    """SQLAlchemy's URL of the ledger: $SSL_LOOP_LEDGER_URL (PostgreSQL), or SQLite in .ssl-loop."""
    return os.environ.get(LEDGER_VARIABLE) or f"sqlite:///{root.resolve() / layout.LEDGER}"


def annotation_tool(root: Path, params: Params) -> tuple[str, str]:
    """Address and key of the annotation tool; ServiceError when there is none or no key for it."""
    if params.annotation.url is not None:
        return params.annotation.url, api_key(root)
    daemon = read_daemons(root).get(LABEL_STUDIO)
    if daemon is None or not daemon.alive:
        raise ServiceError(f"{root}: Label Studio does not run; `ssl-loop up` starts it")
    return daemon.url, credentials(root).label_studio_token


def ensure_hook(root: Path, annotator: Annotator, project: Project) -> None:
    """Let our own Label Studio tell the receiver when people answer; one elsewhere is polled."""
    daemons = read_daemons(root)
    hook, own = daemons.get(HOOK), daemons.get(LABEL_STUDIO)
    if hook and own and hook.alive and own.alive:
        header = {webhook.SECRET_HEADER: credentials(root).webhook_secret}
        annotator.ensure_webhook(project, hook.url + webhook.PATH, header)


def ensure_assist(root: Path, annotator: Annotator, project: Project) -> None:
    """Offer click to mask where its backend runs, and no longer where it is switched off.

    As for the hook, one's own Label Studio alone. ServiceError where Label Studio cannot reach it.
    """
    daemons = read_daemons(root)
    assist, own = daemons.get(ASSIST), daemons.get(LABEL_STUDIO)
    if own and own.alive:
        url = assist.url if assist and assist.alive else None
        annotator.ensure_assist(project, url, credentials(root).webhook_secret)


# --- starting


def _desk_ready(
    root: Path,
    params: Params,
    ready: Callable[[Daemon, str], str],
    studio: Daemon,
    assist: Daemon | None,
) -> Iterator[str]:
    """Label Studio, and click to mask in all projects that there are: its port may have moved, or
    it is switched off. Without it people paint, so whatever is wrong with it stops nothing."""
    yield ready(studio, "Label Studio")
    try:
        if assist is None:
            _end_daemon(root, ASSIST)
        else:
            yield ready(assist, "click to mask")
        identity = read_identity(root)
        known = own_projects(ledger_url(root), identity.id) if identity else []
        annotator = ANNOTATORS[params.annotation.tool](*annotation_tool(root, params))
        for number in known:
            if project := annotator.open_project(number, params.classes):
                ensure_assist(root, annotator, project)
    except SslLoopError as error:
        yield f"click to mask is not there, brushes are: {error}"


def _end_daemon(root: Path, name: str) -> None:
    known = read_daemons(root).get(name)
    if known and known.alive:
        end([psutil.Process(known.pid)])


def _keep_or_start(root: Path, name: str, usual_port: int) -> Daemon:
    known = read_daemons(root).get(name)
    if known and known.alive:
        return known
    start = {
        PREFECT: _start_prefect,
        LABEL_STUDIO: _start_label_studio,
        HOOK: _start_hook,
        ASSIST: _start_assist,
    }[name]
    port = free_port(usual_port, known.port if known else None)
    return start(root, port)


def _outdated(root: Path) -> list[psutil.Process]:
    """Server and worker that run with other settings than prefect.toml is to have now."""
    known = read_daemons(root)
    server = known.get(PREFECT)
    if server is None or server.port is None:
        return []
    text = prefect_server.settings(root, server.port, credentials(root).prefect_password)
    mark = prefect_server.settings_mark(text)
    programs = [
        psutil.Process(known[name].pid)
        for name in (PREFECT, WORKER)
        if name in known and known[name].alive
    ]
    return [each for each in programs if started_with(each, SETTINGS_VARIABLE) != mark]


def _prefect_environment(root: Path) -> dict[str, str]:
    text = (root / PREFECT_TOML).read_text(encoding="utf-8")
    mark = {SETTINGS_VARIABLE: prefect_server.settings_mark(text)}
    return prefect_server.environment(**mark)


def _start_prefect(root: Path, port: int) -> Daemon:
    # First, so that the server reads its own settings from it.
    prefect_server.write_settings(root, port, credentials(root).prefect_password)
    argv = prefect_server.server_command(port)
    return launch(DaemonPlace(root, PREFECT, port), argv, env=_prefect_environment(root))


def _api(root: Path) -> prefect_server.Api:
    found = prefect_server.api(root)
    if found is None:
        raise ServiceError(f"{root / PREFECT_TOML} was removed; `ssl-loop up` again")
    return found


def hook_command(root: Path, port: int) -> list[str]:
    """The receiver of Label Studio's hooks."""
    module = [sys.executable, "-m", "flows.services.webhook"]
    return [*module, "--workspace", str(root), "--port", str(port)]


def _start_hook(root: Path, port: int) -> Daemon:
    credentials(root)  # made here, not by two programs at once
    argv = hook_command(root, port)
    return launch(DaemonPlace(root, HOOK, port), argv, env=prefect_server.environment())


def assist_command(root: Path, port: int) -> list[str]:
    """The backend of click to mask."""
    module = [sys.executable, "-m", "flows.services.assist_server"]
    return [*module, "--workspace", str(root), "--port", str(port)]


def _start_assist(root: Path, port: int) -> Daemon:
    argv = assist_command(root, port)
    return launch(DaemonPlace(root, ASSIST, port), argv, env=prefect_server.environment())


def _start_label_studio(root: Path, port: int) -> Daemon:
    secret = credentials(root)
    first_user = label_studio_server.FirstUser(
        email=secret.label_studio_email,
        password=secret.label_studio_password,
        token=secret.label_studio_token,
    )
    place = DaemonPlace(root, LABEL_STUDIO, port)
    process = label_studio_server.start_label_studio(
        root / LABEL_STUDIO_DATA,
        port,
        credentials=first_user,
        log=place.fresh_log(),
        extra_env={**place.marks(), **label_studio_database()},
    )
    return place.note(process.pid)


def _deploy(
    workspace: Workspace, server: prefect_server.Api, schedule_s: int, prefect_file: Path | None
) -> None:
    watched = workspace.params().watch.folder is not None
    prefect_server.deploy(
        workspace.root,
        server,
        schedule_s=schedule_s,
        watched=watched,
        prefect_file=prefect_file,
    )


def _keep_or_start_worker(root: Path) -> None:
    known = read_daemons(root).get(WORKER)
    env = _prefect_environment(root)
    if known and known.alive:
        process = psutil.Process(known.pid)
        if started_with(process, SETTINGS_VARIABLE) == env[SETTINGS_VARIABLE]:
            return
        end([process])  # the server had to move to another port
    argv = prefect_server.worker_command()
    # Its ticks write images, masks, report and git's objects: shared as the owner's umask says.
    launch(DaemonPlace(root, WORKER, None), argv, env=env, umask=OWN_UMASK)


def _await_worker(root: Path, server: prefect_server.Api, on_wait: Callable[[str], object]) -> None:
    worker, log = read_daemons(root)[WORKER], log_of(root, WORKER)

    def settled() -> bool:
        on_wait(WORKER)
        return not worker.alive or prefect_server.worker_is_ready(server)

    ready = wait_until(settled, PATIENCE_S[WORKER], every_s=0.2)
    if not ready or not worker.alive:
        raise ServiceError(f"the worker did not start; {log} ends with:\n{tail(log)}")


def _answers(daemon: Daemon) -> bool:
    return daemon.port is None or answers(daemon.url + HEALTH[daemon.name])
