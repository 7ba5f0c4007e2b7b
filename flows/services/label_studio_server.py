"""Start a Label Studio of one's own on loopback: environment, port, readiness, template.

It lives in its own virtual environment (its pins exclude Prefect's) and is only talked to by
HTTP. A first start migrates its database (36 to 126 s); later ones take 3 to 6 s, which is why
tests copy a migrated folder.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from flows.processes.label_studio_install import ABOUT, is_complete, label_studio_place
from pipeline.errors import ServiceError

VENV_VARIABLE = "SSL_LOOP_LABELSTUDIO_VENV"
CHECKOUT = Path(__file__).parents[2]
HOST = "127.0.0.1"
FIRST_START_S, LATER_START_S = 600.0, 120.0  # with room for a busy machine

# Label Studio reads each of its settings under a plain name too: HOST, DEBUG, USERNAME, PASSWORD,
# LOG_LEVEL, CI, ... Only these pass, and what is spelled LABEL_STUDIO_...
_PASSED = ("PATH", "HOME", "LANG", "LANGUAGE", "LC_ALL", "TZ", "TMPDIR", "SYSTEMROOT")
_OWN = "LABEL_STUDIO_"


@dataclass(frozen=True, kw_only=True)
class FirstUser:
    """The first user; applied when the database is made, never changed by a later start."""

    email: str
    password: str = field(repr=False)
    token: str = field(repr=False)  # legacy API token, at most 40 characters


def find_label_studio(checkout: Path | None = None) -> Path:
    """The program `label-studio`; ServiceError when it is not installed.

    Where $SSL_LOOP_LABELSTUDIO_VENV names a virtual environment it is looked for there alone,
    else in `.venv-labelstudio` of the checkout (default: this one), then where `ssl-loop
    labelstudio install` puts it.
    """
    checkout = checkout or CHECKOUT
    named, own = os.environ.get(VENV_VARIABLE), label_studio_place()
    venvs = [Path(named)] if named else [checkout / ".venv-labelstudio"]
    if not named and is_complete(own):
        venvs.append(own)
    for venv in venvs:
        program = venv.absolute() / "bin" / "label-studio"
        if program.exists():
            return program
    raise ServiceError(
        f"{venvs[0].absolute()}: Label Studio is not installed there; `ssl-loop labelstudio "
        f"install` puts it into {own} ({ABOUT}), `make install` into a checkout, or point "
        f"{VENV_VARIABLE} to a virtual environment that has it"
    )


def free_port(preferred: int | None = None) -> int:
    """`preferred` when nothing listens there, otherwise any free port of the loopback."""
    for port in (preferred, 0):
        if port is None:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ServiceError(f"{HOST}: no free port; close some programs")


def label_studio_env(credentials: FirstUser, **extra: str) -> dict[str, str]:
    """The whole environment of the server: nothing sent home, loopback webhooks allowed."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name in _PASSED or name.startswith(_OWN)
    }
    settings = {
        "USERNAME": credentials.email,
        "PASSWORD": credentials.password,
        "USER_TOKEN": credentials.token,
        "ENABLE_LEGACY_API_TOKEN": "true",
        "DISABLE_SIGNUP_WITHOUT_LINK": "true",
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
        "FEATURE_FLAGS_OFFLINE": "true",
        # Our receiver is on loopback, which is refused as a webhook's target otherwise.
        "USE_DEFAULT_BANNED_SUBNETS": "false",
    }
    return inherited | {_OWN + name: value for name, value in settings.items()} | extra


def start_label_studio(
    data_dir: Path,
    port: int,
    *,
    credentials: FirstUser,
    log: Path,
    extra_env: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """The server's process, in a session of its own; not ready yet (`wait_healthy`).

    Everything it keeps lies in `data_dir`. SIGTERM ends it at once and loses nothing.
    """
    program = find_label_studio()
    folder = data_dir.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [program, "start", "--no-browser", "--data-dir", folder]
    with log.open("ab") as output:
        return subprocess.Popen(
            [*map(str, command), "--internal-host", HOST, "--port", str(port)],
            # Whatever --data-dir says, empty folders are made under XDG_DATA_HOME.
            env=label_studio_env(credentials, XDG_DATA_HOME=str(folder), **(extra_env or {})),
            cwd=folder,
            umask=0o077,  # its database holds the API token
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def wait_healthy(
    process: subprocess.Popen[bytes],
    port: int,
    *,
    log: Path,
    timeout_s: float = FIRST_START_S,
    on_wait: Callable[[float], None] = lambda seconds: None,
) -> str:
    """Its URL once it answers; ServiceError with its last lines when it ends or takes too long.

    `on_wait` is told about twice a second how long it has been.
    """
    url = f"http://{HOST}:{port}"
    started = time.monotonic()
    while (waited := time.monotonic() - started) < timeout_s:
        if process.poll() is not None:
            raise ServiceError(
                f"Label Studio ended with exit code {process.returncode} while starting; "
                f"{log} ends with:\n{_last_lines(log)}"
            )
        if _answers(url):
            _check_listens(process, port, log)
            return url
        on_wait(waited)
        time.sleep(0.5)
    raise ServiceError(
        f"Label Studio does not answer at {url} after {timeout_s:.0f} s; "
        f"{log} ends with:\n{_last_lines(log)}"
    )


def stop_label_studio(process: subprocess.Popen[bytes], grace_s: float = 10.0) -> None:
    """End it, by force when it does not go."""
    process.terminate()
    try:
        process.wait(grace_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        # trust_env: a proxy must not be asked for loopback.
        with httpx.Client(trust_env=False, timeout=5.0) as client:
            return client.get(f"{url}/health").json().get("status") == "UP"
    except (httpx.HTTPError, ValueError, AttributeError):
        return False


def _check_listens(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Label Studio moves to the next port without a word when its own is taken."""
    connections = psutil.Process(process.pid).net_connections(kind="tcp")
    ports = {c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN}
    if port not in ports:
        raise ServiceError(
            f"port {port} of {HOST} is answered by another Label Studio, ours is at "
            f"{sorted(ports)}; stop the other one or choose another port (log: {log})"
        )


def _last_lines(log: Path, count: int = 15) -> str:
    lines = log.read_text("utf-8", errors="replace").splitlines()[-count:] if log.exists() else []
    return "\n".join(f"  {line}" for line in lines) or "  (nothing)"
