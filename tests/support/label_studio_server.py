"""A real Label Studio for a test session: started on a copy of a migrated folder, ended by pid."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from flows.services import stack
from flows.services.label_studio_server import (
    LATER_START_S,
    FirstUser,
    find_label_studio,
    free_port,
    start_label_studio,
    stop_label_studio,
    wait_healthy,
)
from flows.workspace.credentials import SECRETS
from pipeline.errors import ServiceError

PERSON = FirstUser(
    email="annotator@example.com",
    password="Secret-pass-1",
    token="0123456789abcdef0123456789abcdef01234567",
)


@dataclass(frozen=True, kw_only=True)
class Server:
    """Where the session's Label Studio is and how to log in."""

    url: str
    credentials: FirstUser
    data_dir: Path
    log: Path

    @property
    def token(self) -> str:
        """Legacy token of the only user."""
        return self.credentials.token

    def client(self) -> httpx.Client:
        """For looking behind the adapter's back."""
        return httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Token {self.token}"},
            timeout=60,
            trust_env=False,
        )


def migrated_copy(template: Path, data_dir: Path, *, credentials: FirstUser) -> None:
    """Fill `data_dir` with a migrated database and its first user, for a start in seconds.

    `template` is made on the first call; the same credentials must go with it for ever.
    """
    if not template.exists():
        beside = template.with_name(f"{template.name}.{os.getpid()}.tmp")
        log = beside.with_suffix(".log")
        port = free_port()
        process = start_label_studio(beside, port, credentials=credentials, log=log)
        try:
            wait_healthy(process, port, log=log)
        finally:
            stop_label_studio(process)
        try:
            beside.rename(template)
        except OSError:  # somebody else was first
            shutil.rmtree(beside)
        log.unlink()
    shutil.copytree(template, data_dir, dirs_exist_ok=True)


def own_label_studio(root: Path, template: Path) -> None:
    """PERSON's Label Studio in a workspace: it spares the minute that a first one migrates."""
    migrated_copy(template, root / stack.LABEL_STUDIO_DATA, credentials=PERSON)
    secrets = {
        "label_studio_email": PERSON.email,
        "label_studio_password": PERSON.password,
        "label_studio_token": PERSON.token,
        "webhook_secret": "hook-secret",
    }
    (root / SECRETS).write_text(json.dumps(secrets))
    (root / SECRETS).chmod(0o600)


def label_studio_template(request: pytest.FixtureRequest) -> Path:
    """Where a migrated folder is kept between sessions; skips where Label Studio is missing."""
    try:
        program = find_label_studio()
    except ServiceError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    site = next((program.parent.parent / "lib").glob("*/site-packages/label_studio-*.dist-info"))
    return Path(request.config.cache.mkdir("label-studio")) / site.stem  # type: ignore[union-attr]


@pytest.fixture(scope="session")
def label_studio(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A running Label Studio; the first session ever waits a minute or two for its migrations."""
    template = label_studio_template(request)
    folder = tmp_path_factory.mktemp("label-studio")
    data_dir, log = folder / "data", folder / "server.log"
    migrated_copy(template, data_dir, credentials=PERSON)
    port = free_port()
    process = start_label_studio(data_dir, port, credentials=PERSON, log=log)
    try:
        url = wait_healthy(process, port, log=log, timeout_s=LATER_START_S)
        yield Server(url=url, credentials=PERSON, data_dir=data_dir, log=log)
    finally:
        stop_label_studio(process)
