"""A workspace on a real Prefect server, with a toy for its flow: shared by the tests of the folder.

The deployment's own file is used, so that what is tested is prefect.yaml itself.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.processes.command import child_environment, wait_until
from flows.services import prefect_server, stack
from flows.services.daemon import read_daemons
from flows.services.label_studio_server import free_port
from flows.workspace.create import create_workspace
from flows.workspace.workspace import template_file

TOY = '''
import os, time
from pathlib import Path
from prefect import flow

@flow(name="ssl-loop")
def ssl_loop(workspace: str = ".") -> str:
    """Notes that it ran, and where; takes as long as a file says."""
    with open("ran.txt", "a") as file:
        print(time.time(), os.getcwd(), file=file)
    hold = Path("hold.txt")
    while hold.exists():
        time.sleep(0.1)
    return "waiting 3/8"
'''
RUN_S = 90.0  # a run starts within 15 s on an idle machine; tests share theirs
PROGRAM = str(Path(sys.executable).with_name("prefect"))


class Place:
    """A workspace whose deployment is the toy."""

    def __init__(self, folder: Path) -> None:
        self.root = create_workspace(folder / "workspace", class_names=("a", "b")).root
        (folder / "toy_flow.py").write_text(TOY)
        text = template_file(prefect_server.DEPLOYMENT_FILE).read_text()
        self.prefect_file = folder / "prefect.yaml"
        toy = text.replace("flows.ssl_loop.ssl_loop", "toy_flow.ssl_loop")
        assert toy != text
        self.prefect_file.write_text(toy)

    def up(self, schedule_s: int = 3600) -> list[str]:
        return list(
            stack.up(
                self.root,
                schedule_s=schedule_s,
                label_studio=False,
                prefect_file=self.prefect_file,
            )
        )

    def pid(self, name: str) -> int:
        return read_daemons(self.root)[name].pid

    def runs(self) -> list[list[str]]:
        file = self.root / "ran.txt"
        return [line.split() for line in file.read_text().splitlines()] if file.exists() else []

    def ran_again(self, before: int) -> bool:
        return wait_until(lambda: len(self.runs()) > before, RUN_S)

    def settled(self) -> bool:
        """No run is under way: the next one is not cancelled as the second."""
        return wait_until(lambda: not self.states("RUNNING", "PENDING"), RUN_S)

    def states(self, *types: str) -> list[dict[str, Any]]:
        body = {"flow_runs": {"state": {"type": {"any_": list(types)}}}}
        return self.asked("POST", "/flow_runs/filter", body)

    @property
    def api(self) -> prefect_server.Api:
        found = prefect_server.api(self.root)
        assert found is not None
        return found

    def asked(self, method: str, path: str, body: Any = None) -> Any:
        """What the owner of the workspace is answered."""
        return prefect_server.request(method, self.api, path, body)

    def type_in(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """What a user types in the workspace, with nothing set but the search path."""
        return subprocess.run(
            [PROGRAM, *arguments],
            cwd=self.root,
            env=child_environment(),
            capture_output=True,
            text=True,
        )


@pytest.fixture(scope="package")
def place() -> Iterator[Place]:
    # Not pytest's own folder: other users may look into this one, as into a home of usual umask.
    with (
        tempfile.TemporaryDirectory(prefix="ssl-loop-test-") as name,
        pytest.MonkeyPatch.context() as patch,
    ):
        folder = Path(name).resolve()
        folder.chmod(0o755)
        made = Place(folder)
        patch.setenv("PYTHONPATH", str(folder))
        patch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")  # a stranger's, to be ignored
        # Each test process has a place of its own, and two may come up at the same moment.
        patch.setattr(stack, "PREFECT_PORT", free_port())
        patch.setattr(stack, "HOOK_PORT", free_port())
        made.up()
        patch.delenv("PREFECT_API_URL")
        yield made
        list(stack.down(made.root))
