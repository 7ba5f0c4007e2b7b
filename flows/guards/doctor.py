"""What a workspace's machine lacks, and the command that mends it. Looks, changes nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.specifiers import SpecifierSet

from db.ledger_errors import LedgerError
from flows.guards.refusals import refusals
from flows.loop import open_loop
from flows.rounds.encoder_start import weights_warnings
from flows.services import label_studio_server, prefect_server, stack
from flows.services.daemon import Daemon, read_daemons, taken
from flows.versions.collect_garbage import has_far_remote, lost_by_tag
from flows.workspace.credentials import API_KEY_VARIABLE, SECRETS
from flows.workspace.workspace import Workspace, is_workspace
from pipeline import layout
from pipeline.errors import ConfigError, SslLoopError
from pipeline.runtime.devices import missing_device

GIT_AT_LEAST = (2, 28)  # init --initial-branch
_SHOWN = 5
SPACE_GIB = 5.0  # masks, models and DVC's copies of a first campaign
# Beyond these the server does not start, or silently makes no scheduled runs (pyproject.toml).
PINS = {"prefect": ">=3.8.8,<3.9", "fastapi": ">=0.139,<0.151", "sqlalchemy": ">=2.0,<2.1"}
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FOREIGN = (
    "PREFECT_API_URL",
    "PREFECT_PROFILE",
    "PREFECT_HOME",
    "PREFECT_API_AUTH_STRING",
    "PREFECT_API_KEY",
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
)
_SECRET = ("PREFECT_API_AUTH_STRING", "PREFECT_API_KEY")


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing looked at; `remedy` is a command or a sentence, "" when all is well."""

    name: str
    ok: bool
    found: str
    remedy: str = ""


def checks(root: Path) -> list[Check]:
    """All checks of this machine, and of the workspace when `root` is one."""
    root = root.resolve()
    found = [_python(), _git(), _dvc(), *_pins(), _label_studio(), *_test_programs()]
    found += [*_environment(root), _space(root)]
    workspace = Workspace(root)
    if not (is_workspace(root) or workspace.lacks_git()):
        return [*found, *_ports({})]
    return [*found, *_ports(read_daemons(root)), *_workspace(workspace), *_services(root)]


def _check(name: str, ok: bool, found: str, remedy: str) -> Check:
    return Check(name=name, ok=ok, found=found, remedy="" if ok else remedy)


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    return _check("python", sys.version_info >= (3, 11), version, "install Python 3.11 or newer")


def _git() -> Check:
    text = _says("git", "--version")
    numbers = [int(part) for part in text.split(" ")[-1].split(".")[:2] if part.isdecimal()]
    wanted = ".".join(map(str, GIT_AT_LEAST))
    ok = tuple(numbers) >= GIT_AT_LEAST
    return _check("git", ok, text or "not found", f"apt-get install git (at least {wanted})")


def _dvc() -> Check:
    program = Path(sys.executable).with_name("dvc")
    found = str(program) if program.exists() else "not found beside this Python"
    return _check("dvc", program.exists(), found, "make install")


def _pins() -> Iterator[Check]:
    for name, wanted in PINS.items():
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield Check(
                name=name,
                ok=False,
                found="not installed",
                remedy="pip install ssl-loop, or in a checkout make install",
            )
            continue
        remedy = f"pip install '{name}{wanted}', or in a checkout make install"
        yield _check(name, version in SpecifierSet(wanted), version, remedy)


def _label_studio() -> Check:
    try:
        program = label_studio_server.find_label_studio()
    except SslLoopError as error:
        return Check(name="label studio", ok=False, found="not installed", remedy=str(error))
    return Check(name="label studio", ok=True, found=str(program))


def _test_programs() -> Iterator[Check]:
    """Only tests need these; a plain `initdb` is what PostgreSQL's package hides below /usr/lib."""
    browser = next(filter(None, map(shutil.which, CHROMIUM)), None)
    yield _check(
        "chromium (tests)", browser is not None, browser or "not found", "apt-get install chromium"
    )
    hidden = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")))
    server = shutil.which("initdb") or (hidden[-1] if hidden else None)
    yield _check(
        "postgresql (tests)",
        server is not None,
        server or "not found",
        "apt-get install postgresql",
    )


def _environment(root: Path) -> Iterator[Check]:
    """Variables that lead `prefect` or `git`, typed by a person here, to another place."""
    own = prefect_server.settings_url(root)
    for name in FOREIGN:
        value = os.environ.get(name)
        harmless = name == "PREFECT_API_URL" and own is not None and value == f"{own}/api"
        if value is not None and not harmless:
            remedy = f"unset {name} (it goes before what this folder says)"
            found = "set" if name in _SECRET else value
            yield Check(name=f"${name}", ok=False, found=found, remedy=remedy)


def _space(root: Path) -> Check:
    there = next(folder for folder in (root, *root.parents) if folder.exists())
    free = shutil.disk_usage(there).free / 2**30
    remedy = f"free some on {there}, at least {SPACE_GIB:.0f} GiB; `ssl-loop gc` helps"
    return _check("disk space", free >= SPACE_GIB, f"{free:.1f} GiB", remedy)


def _ports(known: dict[str, Daemon]) -> Iterator[Check]:
    """A taken usual port is no fault: `up` takes the next; worth knowing before typing 8080."""
    usual = {
        stack.PREFECT: stack.PREFECT_PORT,
        stack.LABEL_STUDIO: stack.LABEL_STUDIO_PORT,
        stack.HOOK: stack.HOOK_PORT,
        stack.ASSIST: stack.ASSIST_PORT,
    }
    for name, port in usual.items():
        daemon = known.get(name)
        if daemon and daemon.alive and daemon.port != port:
            found = f"at {daemon.port}, {port} was taken"
        elif daemon and daemon.alive:
            found = f"at {port}"
        else:
            found = f"{port} is taken, the next free one will do" if taken(port) else "free"
        yield Check(name=f"port of {name}", ok=True, found=found)


def _workspace(workspace: Workspace) -> Iterator[Check]:
    try:
        workspace.require_git()
    except SslLoopError as error:
        yield Check(name=".git", ok=False, found="not as it must be", remedy=str(error))
        return  # the rest is judged by what git says
    root = workspace.root
    for name, look in (
        ("params.yaml", workspace.params),
        ("branch", workspace.require_clean_branch),
        ("manifest", workspace.manifest),
    ):
        try:
            look()
        except SslLoopError as error:
            yield Check(name=name, ok=False, found="not as it must be", remedy=str(error))
        else:
            yield Check(name=name, ok=True, found="fine")
    yield from _device(workspace)
    yield from _weights(workspace)
    yield from _refusals(root)
    yield from _restorable(workspace)


def _refusals(root: Path) -> Iterator[Check]:
    """What a tick would stop at."""
    own = stack.LEDGER_VARIABLE not in os.environ
    if own and not (root / layout.LEDGER).exists():  # opening it would make one
        if Workspace(root).tags_merged():
            yield Check(
                name="ledger", ok=False, found="not there", remedy="ssl-loop ledger rebuild"
            )
        return
    try:
        with open_loop(root) as loop:
            for name, why in refusals(loop):
                if name != "branch":  # said above
                    yield Check(name=name, ok=False, found="not as it must be", remedy=why)
    except (SslLoopError, LedgerError) as error:
        yield Check(name="ledger", ok=False, found="cannot be opened", remedy=str(error))


def _restorable(workspace: Workspace) -> Iterator[Check]:
    """Tags whose files are gone from the cache and the remote: `dvc gc` takes them, for one."""
    try:
        tags = workspace.tags_merged()
        lost = lost_by_tag(workspace, tags)
    except SslLoopError as error:
        yield Check(name="tags", ok=False, found="cannot be looked into", remedy=str(error))
        return
    if lost and has_far_remote(workspace):
        found = f"{', '.join(lost)} need files that this machine lacks; the remote may have them"
        yield Check(name="tags", ok=True, found=found)
        return
    for tag, files in lost.items():
        more = f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else ""
        yield Check(
            name=f"tag {tag}",
            ok=False,
            found=f"cannot be restored: lost are {', '.join(files[:_SHOWN])}{more}",
            remedy="bring DVC's cache back from a copy; `ssl-loop remote add` keeps a second one, "
            "`ssl-loop gc` frees space without losing any",
        )
    if tags and not lost:
        yield Check(name="tags", ok=True, found=f"all {len(tags)} can be restored")


def _device(workspace: Workspace) -> Iterator[Check]:
    try:
        train = workspace.params().train
    except SslLoopError:
        return  # said already
    missing = missing_device(train)
    yield _check("train.device", not missing, train.device, missing)


def _weights(workspace: Workspace) -> Iterator[Check]:
    """Under `auto`: whether encoders begin from weights, and these are here."""
    try:
        warnings = weights_warnings(workspace.params())
    except SslLoopError as error:
        if isinstance(error, ConfigError):
            return  # said already
        yield Check(name="weights", ok=False, found="cannot be looked at", remedy=str(error))
        return
    for warning in warnings:
        found, _, remedy = warning.partition("; ")
        yield Check(name="weights", ok=False, found=found, remedy=remedy)


def _services(root: Path) -> Iterator[Check]:
    running = {service.name: service for service in stack.status(root)}
    if not running:
        yield Check(name="services", ok=False, found="never started here", remedy="ssl-loop up")
    for service in running.values():
        state = "answers" if service.answering else "runs, does not answer"
        found = state if service.alive else "ended"
        log = stack.logs(root) / f"{service.name}.log"
        remedy = f"ssl-loop up (its last words: tail {log})"
        yield _check(
            service.name, service.answering, f"{service.url or ''} {found}".strip(), remedy
        )
    server, named = running.get(stack.PREFECT), prefect_server.settings_url(root)
    if server and named and server.url != named:
        yield Check(
            name="prefect.toml",
            ok=False,
            found=f"names {named}, the server is at {server.url}",
            remedy="ssl-loop up (writes it anew)",
        )
    yield from _key(root)


def _key(root: Path) -> Iterator[Check]:
    try:
        url = Workspace(root).params().annotation.url
    except SslLoopError:
        return  # said already
    if url is None:
        return
    try:
        stack.annotation_tool(root, Workspace(root).params())
    except SslLoopError:
        remedy = f"export {API_KEY_VARIABLE}=..., or label_studio_api_key in {root / SECRETS}"
        yield Check(name=f"key for {url}", ok=False, found="none", remedy=remedy)


def _says(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
