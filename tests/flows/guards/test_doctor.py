"""What is missing is named with the command that mends it; what is fine asks for nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from flows.guards import doctor
from flows.guards.doctor import Check, checks
from flows.services import daemon, prefect_server, stack
from flows.workspace import credentials
from flows.workspace.create import create_workspace
from flows.workspace.workspace import Workspace
from pipeline.files import write_json

pytestmark = pytest.mark.programs

PROGRAMS = {"chromium (tests)", "postgresql (tests)", "label studio"}  # may truly be missing here


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("doctor") / "workspace"
    return create_workspace(root, class_names=("a", "b")).root


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in doctor.FOREIGN:
        monkeypatch.delenv(name, raising=False)


def look(root: Path) -> dict[str, Check]:
    found = {check.name: check for check in checks(root)}
    assert all(check.ok or check.remedy for check in found.values())
    assert not any(check.ok and check.remedy for check in found.values())
    return found


def test_only_the_services_lack_in_a_fresh_workspace(workspace: Path) -> None:
    found = look(workspace)
    bad = {name for name, check in found.items() if not check.ok}
    assert bad - PROGRAMS == {"services"}
    assert found["services"].remedy == "ssl-loop up"
    assert {"python", "git", "dvc", "prefect", "fastapi", "sqlalchemy", "disk space"} <= set(found)


def test_machine_is_looked_at_where_no_workspace_is(tmp_path: Path) -> None:
    assert "services" not in look(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "version"), [("prefect", "3.9.1"), ("fastapi", "0.165.0"), ("sqlalchemy", "2.1.9")]
)
def test_versions_that_break_prefect_are_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, version: str
) -> None:
    true = metadata.version
    monkeypatch.setattr(metadata, "version", lambda n: version if n == name else true(n))
    check = look(tmp_path)[name]
    assert (check.ok, check.found) == (False, version)
    assert "make install" in check.remedy


@pytest.mark.parametrize("name", doctor.FOREIGN)
def test_foreign_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setenv(name, "/elsewhere")
    check = look(tmp_path)[f"${name}"]
    shown = "set" if name in ("PREFECT_API_AUTH_STRING", "PREFECT_API_KEY") else "/elsewhere"
    assert (check.found, check.remedy.split(" (")[0]) == (shown, f"unset {name}")


def test_missing_programs_are_named_with_their_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter(()))
    monkeypatch.setenv("SSL_LOOP_LABELSTUDIO_VENV", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    found = look(tmp_path)
    assert found["chromium (tests)"].remedy == "apt-get install chromium"
    assert found["postgresql (tests)"].remedy == "apt-get install postgresql"
    assert "make install" in found["label studio"].remedy
    assert found["git"].remedy.startswith("apt-get install git")


@pytest.mark.parametrize(("version", "ok"), [("2.27.9", False), ("2.28.0", True), ("3.0", True)])
def test_git_that_is_too_old_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, ok: bool
) -> None:
    monkeypatch.setattr(doctor, "_says", lambda *command: f"git version {version}")
    assert look(tmp_path)["git"].ok is ok


def test_full_disk_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "SPACE_GIB", 1e9)
    check = look(tmp_path)["disk space"]
    assert not check.ok
    assert str(tmp_path) in check.remedy


@pytest.fixture
def running(workspace: Path) -> Any:
    """A record of services of which one runs (a program that only sleeps) and one ended."""
    env = os.environ | {daemon.MARK: str(workspace)}
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], env=env)
    row = {"started_at": 0.0, "workspace": str(workspace)}
    record = {
        stack.PREFECT: {"name": stack.PREFECT, "pid": sleeper.pid, "port": 1, **row},
        stack.WORKER: {"name": stack.WORKER, "pid": 2**22 + 1, "port": None, **row},
    }
    write_json(workspace / daemon.RECORD, record)
    yield sleeper
    sleeper.kill()
    sleeper.wait()
    (workspace / daemon.RECORD).unlink()
    (workspace / credentials.PREFECT_TOML).unlink(missing_ok=True)


@pytest.mark.usefixtures("running")
def test_service_that_ended_or_does_not_answer_and_a_moved_port_are_found(workspace: Path) -> None:
    prefect_server.write_settings(workspace, 4444, "secret")
    found = look(workspace)
    assert found[stack.PREFECT].found == "http://127.0.0.1:1 runs, does not answer"
    assert found[stack.WORKER].found == "ended"
    assert "worker.log" in found[stack.WORKER].remedy
    assert "4444" in found["prefect.toml"].found
    assert found["prefect.toml"].remedy.startswith("ssl-loop up")


def test_own_server_in_the_environment_is_no_fault(
    monkeypatch: pytest.MonkeyPatch, workspace: Path
) -> None:
    prefect_server.write_settings(workspace, 4444, "secret")
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4444/api")
    assert "$PREFECT_API_URL" not in look(workspace)
    (workspace / credentials.PREFECT_TOML).unlink()


def test_state_of_the_workspace_is_told_with_its_remedy(tmp_path: Path) -> None:
    root = create_workspace(tmp_path / "w", class_names=("a", "b")).root
    (root / ".git/index.lock").touch()
    (root / "data/manifest.csv").write_text("nonsense\n")
    found = look(root)
    assert "index.lock" in found["branch"].remedy
    assert not found["manifest"].ok
    (root / "params.yaml").write_text("classes: [a]\n")
    assert "classes" in look(root)["params.yaml"].remedy


def test_key_for_a_label_studio_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    url = "https://labels.example"
    root = create_workspace(
        tmp_path / "w", class_names=("a", "b"), overrides={"annotation": {"url": url}}
    ).root
    monkeypatch.delenv("LABEL_STUDIO_API_KEY", raising=False)
    assert "LABEL_STUDIO_API_KEY" in look(root)[f"key for {url}"].remedy
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "key")
    assert f"key for {url}" not in look(root)


def test_a_device_that_is_not_here_is_said_with_the_knob(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "scene"
    shutil.copytree(workspace, root, symlinks=True)
    assert look(root)["train.device"].ok
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    Workspace(root).write_params({"train": {"device": "cuda"}})
    found = look(root)["train.device"]
    assert not found.ok
    assert "train.device = 'cuda': this machine has none" in found.remedy
    assert "auto or cpu" in found.remedy
