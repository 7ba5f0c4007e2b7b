"""Programs that outlive the command that starts them: started once, found again, stopped alone.

Each carries its workspace's path in its environment, and so does everything it starts. That, not a
process number, says what is ours.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import psutil

from flows.processes.command import end_carriers, started_with, wait_until
from pipeline import layout
from pipeline.errors import ServiceError
from pipeline.files import file_lock, write_json
from pipeline.reading import read

HOST = "127.0.0.1"
MARK = "SSL_LOOP_SERVICES_OF"  # environment variable: the workspace's absolute path
RECORD = layout.PRIVATE / "services.json"
LOGS = layout.PRIVATE / "logs"
LOG_LIMIT_BYTES = 20_000_000  # a log beyond this starts anew, one old one is kept
PORTS_TRIED = 100
LOADED_S = 5.0
PRIVATE_UMASK = 0o077  # what a service writes is its owner's alone
OWN_UMASK = -1  # as whoever starts it has it


@dataclass(frozen=True, kw_only=True)
class Daemon:
    """A program that runs, as noted in .ssl-loop/services.json."""

    name: str
    pid: int
    started_at: float  # Unix time by the kernel
    port: int | None  # on HOST; None when it does not listen
    workspace: str

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{HOST}:{self.port}"

    @property
    def alive(self) -> bool:
        """Whether it, and not another program with its number, runs."""
        try:
            process = psutil.Process(self.pid)
        except (psutil.NoSuchProcess, ValueError):
            return False
        return started_with(process, MARK) == self.workspace


def read_daemons(root: Path) -> dict[str, Daemon]:
    """What was started last for the workspace, alive or not, by name."""
    if not (root / RECORD).exists():
        return {}
    remedy = "`ssl-loop down` stops what runs here, then remove the file"
    return read(root / RECORD, remedy=remedy, error=ServiceError).json(dict[str, Daemon])


def _readable(root: Path) -> dict[str, Daemon]:
    """As `read_daemons`; none from a damaged file, since marks alone say what is ours."""
    try:
        return read_daemons(root)
    except ServiceError:
        return {}


@contextlib.contextmanager
def alone(root: Path) -> Iterator[None]:
    """One `up` or `down` at a time; the second waits."""
    path = root / layout.PRIVATE / "services.lock"
    path.parent.mkdir(exist_ok=True)
    with file_lock(path, wait=True):
        yield


def log_of(root: Path, name: str) -> Path:
    """Where a daemon writes."""
    return root / LOGS / f"{name}.log"


@dataclass(frozen=True)
class DaemonPlace:
    """Where a daemon is to run: its workspace, name and port."""

    root: Path
    name: str
    port: int | None

    def marks(self) -> dict[str, str]:
        """Environment by which it and its children are recognised."""
        return {MARK: str(self.root)}

    def fresh_log(self) -> Path:
        """Its log; one that grew too long is put aside."""
        log = log_of(self.root, self.name)
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
            log.replace(log.with_suffix(".log.1"))
        return log

    def note(self, pid: int) -> Daemon:
        """Record it, at once after the start: an interrupted `up` forgets nothing."""
        try:
            started_at = psutil.Process(pid).create_time()
        except psutil.NoSuchProcess:  # dead at once; whoever waits for it will say so
            started_at = time.time()
        known = _readable(self.root)
        known[self.name] = daemon = Daemon(
            name=self.name,
            pid=pid,
            started_at=started_at,
            port=self.port,
            workspace=str(self.root),
        )
        write_json(self.root / RECORD, {name: asdict(row) for name, row in known.items()})
        return daemon


def launch(
    place: DaemonPlace, argv: Sequence[str], *, env: Mapping[str, str], umask: int = PRIVATE_UMASK
) -> Daemon:
    """Start and record it, in a session of its own: Ctrl-C here does not reach it."""
    with place.fresh_log().open("ab") as output:
        process = subprocess.Popen(
            argv,
            cwd=place.root,
            umask=umask,
            env={**env, **place.marks()},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    daemon = place.note(process.pid)
    # The kernel shows no environment while it loads the program: a moment in which what has just
    # been started would be taken for dead.
    wait_until(lambda: daemon.alive or process.poll() is not None, LOADED_S, every_s=0.005)
    return daemon


def stop_all(root: Path) -> list[Daemon]:
    """End what carries this workspace's mark, children of children too; who was alive."""
    living = [daemon for daemon in _readable(root).values() if daemon.alive]
    end_carriers(MARK, str(root))
    return living


def free_port(usual: int, last: int | None = None) -> int:
    """The port of last time, the usual one or the next above that nobody listens on."""
    for port in (last, *range(usual, usual + PORTS_TRIED)):
        if port is not None and not taken(port):
            return port
    raise ServiceError(f"{HOST}: no free port from {usual} to {usual + PORTS_TRIED - 1}")


def taken(port: int) -> bool:
    """Whether anything listens on a loopback port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False


def answers(url: str, timeout_s: float = 2.0) -> bool:
    """Whether a GET is answered with success; no proxy is asked."""
    try:
        with httpx.Client(trust_env=False, timeout=timeout_s) as client:
            return client.get(url).is_success
    except httpx.HTTPError:
        return False


def await_answer(
    daemon: Daemon, path: str, *, log: Path, timeout_s: float, on_wait: Callable[[], object]
) -> None:
    """Return once `daemon.url + path` answers from the daemon itself; ServiceError with its log."""

    def settled() -> bool:
        on_wait()
        return not daemon.alive or answers(daemon.url + path)

    if not wait_until(settled, timeout_s, every_s=0.2):
        raise ServiceError(
            f"{daemon.name} does not answer at {daemon.url} after {timeout_s:.0f} s; "
            f"{log} ends with:\n{tail(log)}"
        )
    if not daemon.alive:
        raise ServiceError(f"{daemon.name} ended while starting; {log} ends with:\n{tail(log)}")
    if daemon.port not in listening_ports(daemon):
        raise ServiceError(
            f"port {daemon.port} was taken by another program while {daemon.name} started; "
            "`ssl-loop up` again chooses another"
        )


def listening_ports(daemon: Daemon) -> set[int]:
    """Ports on which the daemon or its children listen."""
    found: set[int] = set()
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(daemon.pid)
        for each in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                found |= {
                    connection.laddr.port
                    for connection in each.net_connections(kind="tcp")
                    if connection.status == psutil.CONN_LISTEN
                }
    return found


def tail(log: Path, count: int = 15) -> str:
    """The last lines of a log, indented."""
    lines = log.read_text("utf-8", errors="replace").splitlines()[-count:] if log.exists() else []
    return "\n".join(f"  {line}" for line in lines) or f"  (nothing in {os.fspath(log)})"
