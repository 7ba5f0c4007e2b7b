"""Starting Label Studio: what it inherits, which port, and what is said when it cannot start."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from flows.processes.label_studio_install import FOLDER_VARIABLE, MARKER, label_studio_place
from flows.services import label_studio_server
from flows.services.label_studio_server import (
    FirstUser,
    find_label_studio,
    free_port,
    label_studio_env,
    wait_healthy,
)
from pipeline.errors import ServiceError

PERSON = FirstUser(email="a@example.com", password="secret-pass", token="0" * 40)


def test_plain_names_that_label_studio_would_read_do_not_reach_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HOST", "DEBUG", "USERNAME", "PASSWORD", "LOG_LEVEL", "CI", "http_proxy"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("LABEL_STUDIO_DJANGO_DB", "default")
    monkeypatch.setenv("LABEL_STUDIO_USERNAME", "somebody-else@example.com")
    env = label_studio_env(PERSON, MARK="m")
    assert not {"HOST", "DEBUG", "USERNAME", "PASSWORD", "LOG_LEVEL", "CI", "http_proxy"} & {*env}
    assert env["LABEL_STUDIO_DJANGO_DB"] == "default"
    assert env["LABEL_STUDIO_USERNAME"] == "a@example.com"
    assert env["LABEL_STUDIO_COLLECT_ANALYTICS"] == "false"
    assert env["MARK"] == "m"


def test_secrets_are_not_in_the_words_of_an_error() -> None:
    assert "secret-pass" not in repr(PERSON)
    assert "000" not in repr(PERSON)


def test_another_port_when_the_usual_one_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert free_port(port) != port
    assert free_port(port) == port


def test_the_remedy_when_it_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(label_studio_server.VENV_VARIABLE, raising=False)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "data"))
    with pytest.raises(ServiceError, match="`ssl-loop labelstudio install` puts it into") as told:
        find_label_studio(tmp_path)
    assert str(label_studio_place()) in str(told.value)
    assert "make install" in str(told.value)


def test_it_is_found_where_it_was_installed_once_that_came_to_its_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(label_studio_server.VENV_VARIABLE, raising=False)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "data"))
    program = label_studio_place() / "bin/label-studio"
    program.parent.mkdir(parents=True)
    program.touch()
    with pytest.raises(ServiceError, match="not installed"):
        find_label_studio(tmp_path)
    (label_studio_place() / MARKER).touch()
    assert find_label_studio(tmp_path) == program


@pytest.mark.programs
def test_the_log_is_quoted_when_it_ends_while_starting(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("no space left on device\n")
    process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    with pytest.raises(ServiceError, match=r"exit code 3[\s\S]*no space left"):
        wait_healthy(process, free_port(), log=log, timeout_s=30)


@pytest.mark.programs
def test_waiting_ends(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    waits: list[float] = []
    try:
        with pytest.raises(ServiceError, match="does not answer"):
            wait_healthy(
                process, free_port(), log=tmp_path / "log", timeout_s=0.7, on_wait=waits.append
            )
    finally:
        process.kill()
        process.wait()
    assert waits


@pytest.mark.programs
def test_an_answer_from_somebody_elses_server_is_not_taken_for_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_studio_server, "_answers", lambda url: True)
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        with pytest.raises(ServiceError, match="answered by another Label Studio"):
            wait_healthy(process, free_port(), log=tmp_path / "log", timeout_s=5)
    finally:
        process.kill()
        process.wait()
