"""Child processes: a clean environment, errors one can act on, groups that die with us.

Every group that is started carries a random token in its environment, so that survivors of a
crash are recognised by what they are, never by a process number that may have been given away.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NotRequired

import psutil
from typing_extensions import TypedDict

from pipeline.errors import DataError, WorkspaceError
from pipeline.files import write_json
from pipeline.reading import read

GROUP_TOKEN = "SSL_LOOP_GROUP"
LAST_LINES = 20  # enough of a traceback to see its cause
TERM_GRACE_S = 3.0  # trainings checkpoint, so a short grace loses nothing

# Variables by which git would work on another repository than the one it is run in, or write
# other commits: git's own list (`git rev-parse --local-env-vars`) and what changes its dates.
_GIT_ELSEWHERE = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_ATTR_SOURCE",
    "GIT_AUTHOR_DATE",
    "GIT_COMMITTER_DATE",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_PARAMETERS",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_TEMPLATE_DIR",
    "GIT_WORK_TREE",
)
# Refused when empty by git itself, which would otherwise find a name.
_IDENTITY = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")
# Of DVC's own, what says where this machine keeps its settings; all else (DVC_ROOT, DVC_STUDIO_*,
# DVC_EXP_*) would lead to another repository or send facts away.
_DVC_KEPT = ("DVC_GLOBAL_CONFIG_DIR", "DVC_SITE_CACHE_DIR", "DVC_SYSTEM_CONFIG_DIR")
# Nobody sits at a tick: no pass phrase, no hook that waits, no line endings that differ from what
# DVC hashed.
_GIT_SETTINGS = {
    "commit.gpgSign": "false",
    "tag.gpgSign": "false",
    "core.hooksPath": os.devnull,
    "core.autocrlf": "false",
    "log.showSignature": "false",
}


class _Group(TypedDict):
    """The record of a group that runs."""

    token: str
    command: NotRequired[list[str]]


def child_environment(**extra: str) -> dict[str, str]:
    """The environment of every child: git, DVC, stages, services.

    Our `bin` first, nothing sent home, and nothing that leads to another repository, another
    Prefect server or another DVC project than the workspace's own.
    """
    env = {name: value for name, value in os.environ.items() if not _leads_elsewhere(name, value)}
    path = [str(Path(sys.executable).parent), *env.get("PATH", os.defpath).split(os.pathsep)]
    for place, (key, value) in enumerate(_GIT_SETTINGS.items()):
        env |= {f"GIT_CONFIG_KEY_{place}": key, f"GIT_CONFIG_VALUE_{place}": value}
    return env | {
        "PATH": os.pathsep.join(dict.fromkeys(path)),
        "GIT_CONFIG_COUNT": str(len(_GIT_SETTINGS)),
        "DVC_NO_ANALYTICS": "1",
        "DO_NOT_TRACK": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",  # stage lines arrive when written
        **extra,
    }


def _leads_elsewhere(name: str, value: str) -> bool:
    if name.startswith("DVC_"):
        return name not in _DVC_KEPT
    if name in _IDENTITY:
        return not value.strip()
    return name.startswith("PREFECT_") or name in _GIT_ELSEWHERE


def run(argv: Sequence[str], *, cwd: Path, remedy: str = "", limit_s: float | None = None) -> bytes:
    """Standard output of a short command; WorkspaceError with its last lines and `remedy`.

    After `limit_s` it is ended with all that it started: what speaks to a network may never end.
    """
    try:
        child = subprocess.Popen(
            argv,
            cwd=cwd,
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=limit_s is not None,  # nor can it ask at a terminal then
        )
    except FileNotFoundError:
        raise WorkspaceError(_not_found(argv, cwd)) from None
    try:
        out, err = child.communicate(timeout=limit_s)
    except BaseException as error:
        end(_family(child.pid))
        child.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            raise WorkspaceError(
                f"`{' '.join(argv)}` was ended after {error.timeout:.0f} s without an end"
            ) from None
        raise
    if child.returncode:
        lines = (err + out).decode(errors="replace").splitlines()
        raise WorkspaceError(failure(argv, child.returncode, lines[-LAST_LINES:], remedy))
    return out


def _family(pid: int) -> list[psutil.Process]:
    """A process and all that it started; empty when it is gone."""
    try:
        first = psutil.Process(pid)
        return [*first.children(recursive=True), first]
    except psutil.NoSuchProcess:
        return []


def failure(argv: Sequence[str], code: int, lines: Iterable[str], remedy: str = "") -> str:
    """What to tell about a command that failed."""
    said = "".join(f"\n  {line}" for line in lines if line.strip())
    return f"`{' '.join(argv)}` failed with exit code {code}{said}" + (
        f"\n{remedy}" if remedy else ""
    )


def _not_found(argv: Sequence[str], cwd: Path) -> str:
    if not cwd.is_dir():
        return f"{cwd}: no such folder"
    return f"{argv[0]}: no such program on PATH; `ssl-loop doctor` says how to install it"


def stream(argv: Sequence[str], *, cwd: Path, record: Path, on_line: Callable[[str], None]) -> None:
    """Run a long command in its own group, line by line; WorkspaceError when it fails.

    `record` names the group while it runs: `kill_survivors(record)` ends what a crash left. The
    group also dies with this process (flows/processes/die_with_parent.py) and on any exception,
    Ctrl-C included.
    """
    kill_survivors(record)
    token = secrets.token_hex(16)
    write_json(record, {"token": token, "command": list(argv)})
    lifeline = [sys.executable, "-I", "-S", str(Path(__file__).with_name("die_with_parent.py"))]
    child = subprocess.Popen(
        [*lifeline, *argv],
        cwd=cwd,
        env=child_environment(**{GROUP_TOKEN: token}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    lines: deque[str] = deque(maxlen=LAST_LINES)
    try:
        for line in child.stdout or ():
            lines.append(line.rstrip())
            on_line(lines[-1])
        code = child.wait()
    finally:
        kill_survivors(record)
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe:
                pipe.close()
    if code:
        raise WorkspaceError(failure(argv, code, lines))


def kill_survivors(record: Path) -> list[int]:
    """Process numbers ended: whatever still carries the token of `record`, which is removed."""
    token = group_token(record)
    ended = end_carriers(GROUP_TOKEN, token) if token else []
    record.unlink(missing_ok=True)
    return ended


def group_token(record: Path) -> str | None:
    """What the group of `record` carries; None without one, or where a kill left half of it."""
    with contextlib.suppress(DataError):
        return read(record).json(_Group)["token"]
    return None


def group_command(record: Path) -> list[str]:
    """What the group of `record` runs; empty without one, or where a kill left half of it."""
    with contextlib.suppress(DataError):
        return read(record).json(_Group).get("command", [])
    return []


def end_carriers(variable: str, value: str) -> list[int]:
    """Process numbers ended: all that carry `variable=value`, their late children included."""
    ended: list[int] = []
    for _ in range(3):  # what was born meanwhile; more often only what cannot be killed is left
        ended += end(carriers(variable, value))
    return ended


def carriers(variable: str, value: str) -> list[psutil.Process]:
    """Living processes, other than this one, that were started with `variable=value`."""
    return [
        process
        for process in psutil.process_iter()
        if process.pid != os.getpid() and started_with(process, variable) == value
    ]


def started_with(process: psutil.Process, variable: str) -> str | None:
    """An environment variable of another process; None if absent, or the process gone."""
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        environ: Mapping[str, str] = process.environ()
    except (psutil.Error, OSError):
        return None
    return environ.get(variable)


def end(processes: Sequence[psutil.Process], grace_s: float = TERM_GRACE_S) -> list[int]:
    """Ask, wait, kill; process numbers of those that were alive."""
    if not processes:
        return []
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in processes:
            try:
                process.send_signal(number)
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(processes, timeout=grace_s)
    return [process.pid for process in processes]


def alive(pid: int) -> bool:
    """Whether a process of that number runs (a zombie does not)."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(condition: Callable[[], bool], timeout_s: float, every_s: float = 0.05) -> bool:
    """Whether `condition` came true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every_s)
    return True
