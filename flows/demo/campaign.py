"""A loop from end to end on real services with a simulated annotator: shared by demo and benchmark.

It does what a user does, in the same words: up, domain add, `prefect deployment run ssl-loop`; then
it watches tags appear.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from db.repository import events
from db.session import session_scope
from flows.loop import Loop, open_loop
from flows.rounds.round_facts import round_facts
from flows.services import prefect_server, stack
from flows.views.status import Status, status
from flows.workspace.position import ingest_tag, labels_tag, round_tag
from pipeline import layout

POLL_S = 2.0
MARK = "*"  # after what a transductive teacher reached


class DemoCampaign:
    """One workspace, its console, and the seconds that each phase took."""

    def __init__(self, root: Path, truth: Path, console: Console) -> None:
        self.root = root
        self.truth = truth
        self.console = console
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Show a spinner with `name`, then the seconds it took."""
        started = time.monotonic()
        with self.console.status(f"{name} ..."):
            yield
        self.done(name, time.monotonic() - started)

    def done(self, name: str, seconds: float) -> None:
        """Note and show a finished phase."""
        self.seconds[name] = round(seconds, 1)
        self.console.print(f"[green]done[/] {name} [dim]{seconds:.0f} s[/]", highlight=False)

    def up(self, schedule_s: int) -> None:
        """Start the services and say where they are."""
        with self.phase("starting Prefect, a worker and Label Studio"):
            for line in stack.up(self.root, schedule_s=schedule_s):
                self.console.print(f"     {escape(line)}", highlight=False)

    def trigger(self) -> None:
        """Type what a user types."""
        subprocess.run(
            [str(Path(sys.executable).with_name("prefect")), "deployment", "run", "ssl-loop"],
            cwd=self.root,
            env=prefect_server.environment(),  # another server's address and key are not for it
            check=True,
            stdout=subprocess.DEVNULL,
        )

    @contextmanager
    def simulated_annotator(self, rates: Iterable[str], seed: int = 0) -> Iterator[None]:
        """Somebody who answers, as a process of its own that only knows the tool and the truth."""
        log = self.root / ".ssl-loop/logs/simulated-annotator.log"
        argv = [sys.executable, "-m", "flows.cli", "simulate-annotator", "--watch"]
        argv += ["--truth", str(self.truth), "--seed", str(seed), "-w", str(self.root)]
        argv += [f"--rate={rate}" for rate in rates]
        with log.open("w") as output:
            process = subprocess.Popen(argv, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield
        finally:
            process.terminate()
            process.wait()

    def follow(self, patience_s: float, until: str | None = None) -> bool:
        """Watch tags appear until one of that name, or until the loop has finished.

        False, saying where it stands, when no step has moved for `patience_s`, however long the
        whole takes: a busy machine makes it slow, not failed.
        """
        seen: set[str] = set()
        last = moved_at = time.monotonic()
        before: tuple[Any, ...] = ()
        with self.console.status("the loop turns ...") as spinner:
            while True:
                with open_loop(self.root) as loop:
                    tags, now, done = loop.workspace.tags_merged(), status(loop), _done(loop)
                for tag in [tag for tag in tags if tag not in seen]:
                    seen.add(tag)
                    self.done(tag, time.monotonic() - last)
                    last = time.monotonic()
                if now.finished or until in seen:
                    return True
                # Who works there tells nothing: every scheduled tick is another process.
                moved = replace(now, running=None)
                evidence = (tags, moved, done, _newest_checkpoint(self.root))
                if evidence != before:
                    before, moved_at = evidence, time.monotonic()
                where = _where(now, stack.last_line(self.root))
                if time.monotonic() - moved_at > patience_s:
                    break
                spinner.update(where)
                time.sleep(POLL_S)
        after = f"after {done[-1]}" if done else "before the first step"
        self.console.print(
            f"[red]no step has moved for {patience_s / 60:.0f} minutes[/], {after}: {where}"
        )
        return False

    def missing(self, expected: Sequence[str]) -> list[str]:
        """Those of the expected tags that the loop did not make."""
        with open_loop(self.root) as loop:
            tags = loop.workspace.tags_merged()
        return [tag for tag in expected if tag not in tags]

    def table(self) -> Table:
        """What the manager asks: what did the labels buy."""
        # Without lines it fits a terminal of 80 columns, headings uncut.
        table = Table(
            title="Rounds (mIoU on val)",
            box=None,
            padding=(0, 1, 0, 0),
            header_style="bold underline",
        )
        columns = ("round", "labels", "baseline", "teacher", "accepted", "skipped", "corrected")
        table.add_column("domain")
        for name in (*columns, "quarantined"):
            table.add_column(name, justify="right")
        with open_loop(self.root) as loop:
            rows = round_facts(loop)
            if any(row.transductive for row in rows):
                table.caption = f"{MARK} transductive: learnt from val and test images, unlabelled"
            for row in rows:
                counts = (row.accepted, row.skipped, row.corrected, row.quarantined)
                table.add_row(
                    row.domain,
                    str(row.round_index),
                    str(row.labelled),
                    _miou(row.miou_baseline),
                    _miou(row.miou_teacher) + MARK * row.transductive,
                    *map(str, counts),
                )
        return table


def tags_of(domains: Sequence[str], num_rounds: int) -> list[str]:
    """All tags of a campaign: arrival, `num_rounds` answered queries, the last models."""
    return [
        tag
        for domain in domains
        for tag in (
            ingest_tag(domain),
            *(make(domain, k) for k in range(num_rounds) for make in (round_tag, labels_tag)),
            round_tag(domain, num_rounds),
        )
    ]


def _miou(value: float | None) -> str:
    return "not yet" if value is None else f"{value:.3f}"


def _done(loop: Loop) -> list[str]:
    """What the ledger says was done, in order: a stage, a push, a merge."""
    with session_scope(loop.ledger, read_only=True) as session:
        return [" ".join(filter(None, (e.kind, e.domain, e.subject))) for e in events(session)]


def _newest_checkpoint(root: Path) -> float:
    """Unix time at which a training was saved last: it moves while it lasts."""
    times = [0.0]
    for path in (root / layout.CHECKPOINTS).rglob("*"):
        with suppress(FileNotFoundError):  # replaced meanwhile
            times.append(path.stat().st_mtime)
    return max(times)


def _where(now: Status, last_line: str) -> str:
    where = f"{now.domain} round {now.round_index}" if now.domain else "first domain"
    people = f", {now.answered}/{now.asked} answered" if now.asked else ""
    return f"{where}{people} [dim]{escape(last_line[:90])}[/]"
