"""`make demo`: the whole loop on real services with synthetic scenes and a simulated annotator.

Two rounds by day, the shift to dusk, two rounds there; then a table, two addresses and a report.
Exit code 0 only if all of it happened.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.data.synthetic import CLASSES, make_domain
from rich.console import Console
from rich.table import Table

from flows import services
from flows.arrival import add_domain
from flows.loop import open_loop
from flows.position import labels_tag, round_tag
from flows.reporting import round_facts
from flows.status import status
from flows.workspace import Workspace, is_workspace
from pipeline import layout

DOMAINS = ("day", "dusk")
ROUNDS = 2
HEIGHT_PX, WIDTH_PX = 96, 128
COUNTS = {
    "day": {"num_labelled": 8, "num_pool": 40, "num_val": 12, "num_test": 0},
    "dusk": {"num_labelled": 0, "num_pool": 40, "num_val": 12, "num_test": 0},
}
# Small and short, from random initialisation: a training takes well under 40 s on two cores.
SETTINGS: dict[str, Any] = {
    "image": {"height_px": HEIGHT_PX, "width_px": WIDTH_PX},
    "train": {"steps": 150},
    "acquire": {"query_size": 6},
    "loop": {"budget": 6 * ROUNDS},
    "annotation": {"title": "demo"},
}
# Everything that goes wrong with real people, at low rates.
RATES = (
    "skip=0.06",
    "undecodable=0.06",
    "double_submit=0.06",
    "edit_after_submit=0.06",
    "wrong_class=0.05",
    "boundary_noise_px=1",
)
LIMIT_S = 20 * 60
EXPECTED_TAGS = [
    tag
    for domain in DOMAINS
    for tag in (
        f"{domain}/ingest",
        *(name(domain, k) for k in range(ROUNDS) for name in (round_tag, labels_tag)),
        round_tag(domain, ROUNDS),
    )
]


class Demo:
    """The demo's folders, its console and the time each phase took."""

    def __init__(self, root: Path, console: Console) -> None:
        self.root = root
        self.truth = root.with_name(f"{root.name}-truth")
        self.console = console
        self.phases: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Show a spinner with `name`, then the seconds it took."""
        started = time.monotonic()
        with self.console.status(f"{name} ..."):
            yield
        self.phases[name] = time.monotonic() - started
        self.console.print(f"[green]done[/] {name} [dim]{self.phases[name]:.0f} s[/]")

    def prepare(self) -> None:
        """A fresh workspace and the synthetic pair; the last demo's services are stopped."""
        if is_workspace(self.root):
            for _ in services.down(self.root):
                pass
        for folder in (self.root, self.truth):
            shutil.rmtree(folder, ignore_errors=True)
        for seed, name in enumerate(DOMAINS):
            make_domain(
                name,
                self.truth / name,
                height_px=HEIGHT_PX,
                width_px=WIDTH_PX,
                seed=seed,
                **COUNTS[name],
            )
        Workspace.create(self.root, class_names=CLASSES, overrides=SETTINGS)
        for name in DOMAINS:
            folder = self.truth / name
            add_domain(
                self.root,
                name,
                images=folder / "images",
                masks=folder / "masks",
                splits=folder / "splits.csv",
            )

    def trigger(self) -> None:
        """Type what a user types."""
        subprocess.run(
            [str(Path(sys.executable).with_name("prefect")), "deployment", "run", "ssl-loop"],
            cwd=self.root,
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def follow(self) -> bool:
        """Watch tags appear until the loop has finished; False at the time limit."""
        seen: set[str] = set()
        started = last = time.monotonic()
        with self.console.status("the loop turns ...") as spinner:
            while time.monotonic() - started < LIMIT_S:
                with open_loop(self.root) as loop:
                    tags, now = loop.workspace.tags_merged(), status(loop)
                for tag in [tag for tag in tags if tag not in seen]:
                    seen.add(tag)
                    self.phases[tag] = time.monotonic() - last
                    last = time.monotonic()
                    self.console.print(f"[green]tag[/]  {tag} [dim]{self.phases[tag]:.0f} s[/]")
                if now.finished:
                    return True
                spinner.update(_line(now, services.last_line(self.root)))
                time.sleep(2)
        return False

    def table(self) -> Table:
        """What the manager asks: what did the labels buy."""
        table = Table(title="Rounds")
        for name in (
            "domain",
            "round",
            "labels",
            "mIoU baseline",
            "mIoU teacher",
            "accepted",
            "skipped",
            "corrected",
            "quarantined",
        ):
            table.add_column(name, justify="left" if name == "domain" else "right")
        with open_loop(self.root) as loop:
            for row in round_facts(loop):
                table.add_row(
                    row.domain,
                    str(row.round_index),
                    str(row.labelled),
                    _miou(row.miou_baseline),
                    _miou(row.miou_teacher),
                    str(row.accepted),
                    str(row.skipped),
                    str(row.corrected),
                    str(row.quarantined),
                )
        return table


def _miou(value: float | None) -> str:
    return "not yet" if value is None else f"{value:.3f}"


def _line(now: Any, last: str) -> str:
    where = f"{now.domain} round {now.round_index}" if now.domain else "first domain"
    people = f", {now.answered}/{now.asked} answered" if now.asked else ""
    return f"{where}{people} [dim]{last[:90]}[/]"


def main() -> int:
    """Exit code 0 when both domains went through all their rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, default=Path("workspaces/demo"))
    parser.add_argument("--schedule", type=int, default=20, help="seconds between ticks")
    parser.add_argument("--down", action="store_true", help="stop the services at the end")
    parser.add_argument("--timings", type=Path, help="write the seconds of each phase as JSON")
    args = parser.parse_args()
    demo = Demo(args.directory.resolve(), Console())
    started = time.monotonic()
    if "SSL_LOOP_DEMO_STARTED" in os.environ:  # set by make before it installs
        demo.phases["install"] = time.time() - float(os.environ["SSL_LOOP_DEMO_STARTED"])
        demo.console.print(f"[green]done[/] install [dim]{demo.phases['install']:.0f} s[/]")
    with demo.phase("drawing day and dusk, making the workspace"):
        demo.prepare()
    with demo.phase("starting Prefect, a worker and Label Studio"):
        addresses = list(services.up(demo.root, schedule_s=args.schedule))
    for line in addresses:
        demo.console.print(line)
    demo.trigger()
    annotator = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "flows.cli",
            "simulate-annotator",
            "--truth",
            str(demo.truth),
            "--watch",
            "-w",
            str(demo.root),
            *(f"--rate={rate}" for rate in RATES),
        ],
        stdout=(demo.root / ".ssl-loop/logs/simulated-annotator.log").open("w"),
        stderr=subprocess.STDOUT,
    )
    try:
        finished = demo.follow()
    finally:
        annotator.terminate()
        annotator.wait()
    demo.phases["loop"] = time.monotonic() - started
    return _close(demo, args, finished)


def _close(demo: Demo, args: argparse.Namespace, finished: bool) -> int:
    tags = Workspace(demo.root).tags_merged()
    missing = [tag for tag in EXPECTED_TAGS if tag not in tags]
    demo.console.print(demo.table())
    for line in services.addresses(demo.root):
        demo.console.print(line)
    report = demo.root / layout.REPORT
    demo.console.print(f"report: {report}")
    demo.console.print(
        f"The services stay up to look around; `ssl-loop down -w {demo.root}` or "
        "`make down` stops them."
    )
    if args.timings:
        args.timings.write_text(json.dumps(demo.phases, indent=1))
    if args.down:
        for line in services.down(demo.root):
            demo.console.print(line)
    if missing or not finished or not report.exists():
        demo.console.print(
            f"[red]not finished[/]: missing tags {missing}; see {demo.root}/.ssl-loop/logs"
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
