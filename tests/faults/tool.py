"""A Label Studio that can be killed, set back to a backup, and whose clock can be wrong."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
from pathlib import Path
from typing import Any

import httpx

from flows.services.label_studio_server import (
    LATER_START_S,
    free_port,
    start_label_studio,
    stop_label_studio,
    wait_healthy,
)
from tests.support.label_studio_server import PERSON, migrated_copy

DATABASE = "label_studio.sqlite3"


class Tool:
    """One server at one address for as long as it lives, through all its deaths."""

    def __init__(self, template: Path, folder: Path) -> None:
        self.template = template
        self.folder = folder
        self.data = folder / "data"
        migrated_copy(template, self.data, credentials=PERSON)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Token {PERSON.token}"},
            timeout=60,
            trust_env=False,
        )
        self.start()

    def start(self) -> None:
        log = self.folder / "server.log"
        self.process = start_label_studio(self.data, self.port, credentials=PERSON, log=log)
        wait_healthy(self.process, self.port, log=log, timeout_s=LATER_START_S)

    def kill(self) -> None:
        """As the kernel does when memory is short."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        stop_label_studio(self.process)

    def backup(self) -> Path:
        """A copy of its database as it is now."""
        target = self.folder / "backup.sqlite3"
        target.unlink(missing_ok=True)
        copy = sqlite3.connect(target)
        with contextlib.closing(self._connect()) as source, contextlib.closing(copy):
            source.backup(copy)
        return target

    def restore(self, backup: Path) -> None:
        """Back to the backup, as after a disk was lost."""
        self.stop()
        for leftover in self.data.glob(f"{DATABASE}-*"):
            leftover.unlink()
        shutil.copyfile(backup, self.data / DATABASE)
        self.start()

    def wipe(self) -> None:
        """A new and empty one at the same address."""
        self.stop()
        shutil.rmtree(self.data)
        migrated_copy(self.template, self.data, credentials=PERSON)
        self.start()

    def stamp(self, annotation_id: int, shift: str) -> None:
        """As if its clock had been wrong while this was submitted; `shift` as "+1 hour"."""
        moved = "strftime('%Y-%m-%d %H:%M:%f', {}, ?)"
        with contextlib.closing(self._connect()) as database, database:
            database.execute(
                f"UPDATE task_completion SET created_at = {moved.format('created_at')}, "
                f"updated_at = {moved.format('updated_at')} WHERE id = ?",
                (shift, shift, annotation_id),
            )
            database.execute(
                "UPDATE task SET updated_at = (SELECT updated_at FROM task_completion WHERE id = ?)"
                " WHERE id = (SELECT task_id FROM task_completion WHERE id = ?)",
                (annotation_id, annotation_id),
            )

    def set_result(self, annotation_id: int, result: str) -> None:
        """Raw text in the database, for what the interface would not take."""
        with contextlib.closing(self._connect()) as database, database:
            database.execute(
                "UPDATE task_completion SET result = ? WHERE id = ?", (result, annotation_id)
            )

    def get(self, path: str, **params: Any) -> Any:
        return self._checked(self.client.get(path, params=params))

    def post(self, path: str, body: Any = None, **params: Any) -> Any:
        return self._checked(self.client.post(path, json=body, params=params))

    def patch(self, path: str, body: Any) -> Any:
        return self._checked(self.client.patch(path, json=body))

    def delete(self, path: str) -> None:
        self.client.delete(path).raise_for_status()

    def exists(self, path: str) -> bool:
        return self.client.get(path).status_code == httpx.codes.OK

    def projects(self) -> dict[int, str]:
        """Title by id, of all."""
        found = self.get("/api/projects/", include="id,title", page_size=1000)["results"]
        return {project["id"]: project["title"] for project in found}

    def _checked(self, answer: httpx.Response) -> Any:
        if answer.is_error:
            raise RuntimeError(f"{answer.request.method} {answer.request.url}: {answer.text[:400]}")
        return answer.json() if answer.content else None

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.data / DATABASE, timeout=60)
