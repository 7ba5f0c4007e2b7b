"""One fault as it is played: a workspace, its people, and the loop that has to go on."""

from __future__ import annotations

import re
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np

from db.ledger_errors import LedgerError
from flows.annotators.label_studio import LabelStudio
from flows.loop import open_loop
from flows.tick import tick
from flows.workspace.workspace import Workspace
from pipeline.errors import SslLoopError
from tests.faults.checker import ledger_rows
from tests.faults.people import Answer, People, pixels
from tests.faults.place import DOMAIN, Place, Stop, stops
from tests.faults.proxy import Proxy
from tests.faults.tool import Tool
from tests.support.quick_dvc import quick_dvc

ROOT = Path(__file__).parents[2]
PATIENCE_S = 0.6  # what a client of these tests waits for an answer that comes late
MAX_TICKS = 12
REMEDY = re.compile(r"`ssl-loop ((?:labelstudio (?:adopt|restore)|ledger rebuild)[^`]*)`")
MERGED = "merged"


class CannotPlayError(Exception):
    """This machine lacks what the fault needs; says what."""


def labels_tag(round_index: int) -> str:
    return f"{DOMAIN}/r{round_index}-labels"


@dataclass
class Scene:
    """What a kind of fault has at hand."""

    place: Place
    root: Path
    people: People
    rng: np.random.Generator
    said: list[str] = field(default_factory=list)
    tracebacks: list[str] = field(default_factory=list)
    stuck: str = ""
    remedies: list[str] = field(default_factory=list)
    struck: int = 0
    mend: Callable[[Scene, str], bool] = lambda scene, message: False
    """Does by hand what a message says that is no command; False = the message says nothing."""
    impatient: bool = False
    others: list[Scene] = field(default_factory=list)
    leave: Callable[[], object] = lambda: None
    """Gives back what was borrowed from the machine."""

    @classmethod
    def begin(cls, place: Place, folder: Path, seed: int, which: int = 0) -> Scene:
        """A copied workspace with a query that waits to be sent."""
        return cls.of(place, place.copy(folder / "site", which), seed)

    @classmethod
    def of(cls, place: Place, root: Path, seed: int) -> Scene:
        """The workspace at `root`, with people who know its images."""
        images = {pixels(path) for path in (root / "data" / DOMAIN / "images").iterdir()}
        people = People(place.tool, ours=lambda seen: seen in images)
        return cls(place=place, root=root, people=people, rng=np.random.default_rng(seed))

    @property
    def tool(self) -> Tool:
        return self.place.tool

    @property
    def proxy(self) -> Proxy:
        return self.place.proxy

    def beside(self) -> Scene:
        """A second workspace whose folder, images and domain have the same names."""
        folder = self.root.parent / "elsewhere"
        other = Scene.begin(self.place, folder, int(self.rng.integers(1000)), which=1)
        self.others.append(other)
        return other

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.root)

    # --- the loop

    def tick(self, *, to_round: int = 0) -> str:
        """One tick, at most to the merge of the round; what it said, or the error's text."""
        name = f"merge:{labels_tag(to_round)}"
        try:
            with quick_dvc(), open_loop(self.root, log=self.said.append) as loop:
                if self.impatient and isinstance(loop.annotator, LabelStudio):
                    loop.annotator.http.client.timeout = httpx.Timeout(PATIENCE_S)
                return self._say(tick(loop, stops(lambda step: step == name, after=True)))
        except Stop:
            return self._say(MERGED)
        except (SslLoopError, LedgerError) as error:
            return self._say(f"Error: {error}")
        except Exception as error:  # what users would see as a traceback
            last = traceback.format_tb(error.__traceback__)[-1].strip().splitlines()[0]
            self.tracebacks.append(f"{type(error).__name__}: {str(error)[:200]} ({last})")
            return self._say(f"Traceback: {type(error).__name__}: {error}")

    def _say(self, text: str) -> str:
        if self.said[-1:] != [text]:  # a tick logs what it says
            self.said.append(text)
        return text

    def settle(self, *, to_round: int = 0, answering: bool = True) -> None:
        """Let the loop and people go on until the answers are merged, or nothing moves any more.

        People answer what is open, unless `answering` is off; commands that messages name are run.
        """
        self.struck += self.proxy.clear()
        idle = 0
        for _ in range(MAX_TICKS):
            if self.merged(to_round):
                return
            said = self.tick(to_round=to_round)
            if said.startswith("finished"):
                return
            moved = answering and bool(self.people.answer_all())
            if not moved or said.startswith("Error: "):
                moved = self._carry_out(said) or moved
            idle = 0 if moved else idle + 1
            if idle > 2:
                break
        self.stuck = self.stuck or f"nothing moves: {self.said[-1]}"

    def merged(self, round_index: int = 0) -> bool:
        return bool(self.git("tag", "--list", labels_tag(round_index)))

    def close(self) -> None:
        """People decide that the round has waited long enough, and it is merged."""
        done = self.cli("round", "close")
        if done.returncode:
            raise AssertionError(f"round close: {done.stdout}{done.stderr}")
        self.settle(answering=False)

    def expect_collected(self, answer: Answer) -> None:
        """The ledger has the answer now, not only when all is over."""
        rows = ledger_rows(self.root)
        if answer.annotation_id not in {row["tool_annotation_id"] for row in rows}:
            self.stuck = f"annotation {answer.annotation_id} is not collected: {self.said[-1]}"

    def _carry_out(self, message: str) -> bool:
        """Do what the message says; whether it said anything that can be done."""
        commands = REMEDY.findall(message)
        if not commands:
            return self.mend(self, message)
        # What puts back goes before what gives up.
        command = next((one for one in commands if "restore" in one), commands[0])
        if "NUMBER" in command:
            tasks = self.people.tasks()
            command = command.replace("NUMBER", str(tasks[0].project_id if tasks else 0))
        self.remedies.append(command)
        done = self.cli(*command.split())
        self.said.append(f"$ ssl-loop {command}: {done.returncode} {done.stdout}{done.stderr}")
        return done.returncode == 0

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`ssl-loop ARGUMENTS` in the workspace."""
        program = Path(sys.executable).with_name("ssl-loop")
        return subprocess.run(
            [str(program), *arguments], cwd=self.root, capture_output=True, text=True, timeout=300
        )

    def git(self, *arguments: str) -> str:
        return subprocess.check_output(["git", *arguments], cwd=self.root, text=True)

    # --- what most kinds have in common

    def publish(self) -> None:
        """The query is in the tool, undisturbed."""
        said = self.tick()
        if not said.startswith("waiting"):
            raise AssertionError(f"the query was not sent: {self.said}")

    def publish_and_answer(self) -> None:
        self.publish()
        self.people.answer_all()
