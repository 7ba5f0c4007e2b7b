"""`ssl-loop quickstart`, `make demo`: the whole loop with synthetic scenes, nobody needed.

On real services with a simulated annotator: two rounds by day, the shift to dusk, two rounds there;
then a table, two addresses and a report.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from flows.demo.campaign import DemoCampaign, tags_of
from flows.demo.demo_settings import (
    DOMAINS,
    ENCODER_SEED,
    RATES,
    ROUNDS,
    draw_domain,
    settings,
)
from flows.domains.add import add_domain
from flows.services import stack
from flows.workspace.create import create_workspace
from flows.workspace.workspace import is_workspace
from pipeline import layout
from pipeline.data.synthetic.domains import CLASSES
from pipeline.errors import ConfigError, WorkspaceError

PATIENCE_S = 20 * 60  # with one step; the whole may take as long as it takes
STARTED = "SSL_LOOP_DEMO_STARTED"  # Unix time, set by make before it installs


def prepare(root: Path, truth: Path, seed: int) -> None:
    """A fresh workspace and the synthetic pair; the last demo's services are stopped first.

    WorkspaceError where something else than an earlier demo is at `root`.
    """
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        if not (is_workspace(root) and all((truth / name).is_dir() for name in DOMAINS)):
            raise WorkspaceError(
                f"{root}: is there already and no earlier quickstart; name a folder that does not "
                "exist"
            )
        for _ in stack.down(root):
            pass
    for folder in (root, truth):
        shutil.rmtree(folder, ignore_errors=True)
    create_workspace(root, class_names=CLASSES, overrides=settings(seed))
    for name in DOMAINS:
        folder = draw_domain(name, truth, seed)
        add_domain(
            root,
            name,
            images=folder / "images",
            masks=folder / "masks",
            splits=folder / "splits.csv",
        )


def play(directory: Path, seed: int, schedule_s: int, *, stop: bool) -> bool:
    """Whether both domains went through all their rounds.

    `schedule_s`: seconds between ticks; `stop`: the services at the end. ConfigError for a seed
    of the scenes that the shipped encoder has learnt from.
    """
    if seed >= ENCODER_SEED:
        raise ConfigError(
            f"--seed {seed}: expected 0 to {ENCODER_SEED - 1}; the demo's encoder has learnt from "
            f"scenes of seed {ENCODER_SEED}"
        )
    root = directory.resolve()
    demo = DemoCampaign(root, root.with_name(f"{root.name}-truth"), Console())
    return close(demo, run(demo, seed, schedule_s), stop=stop)


def run(demo: DemoCampaign, seed: int, schedule_s: int) -> bool:
    """From nothing to the end of the loop; False where that was not reached."""
    started = time.monotonic()
    if STARTED in os.environ:
        demo.done("installing", time.time() - float(os.environ[STARTED]))
    with demo.phase("drawing day and dusk, making the workspace"):
        prepare(demo.root, demo.truth, seed)
    demo.up(schedule_s)
    demo.trigger()
    with demo.simulated_annotator(RATES, seed):
        finished = demo.follow(PATIENCE_S)
    demo.done("the whole demo", time.monotonic() - started)
    return finished


def close(demo: DemoCampaign, finished: bool, *, stop: bool) -> bool:
    """Say what came out and where to look; whether all of it happened."""
    demo.console.print(demo.table())
    for line in stack.addresses(demo.root):
        demo.console.print(escape(line), highlight=False, soft_wrap=True)
    report = demo.root / layout.REPORT
    demo.console.print(f"Report:       {report}", highlight=False, soft_wrap=True)
    if stop:
        for line in stack.down(demo.root):
            demo.console.print(line)
    else:
        demo.console.print(
            f"The services stay up to look around; `ssl-loop down -w {demo.root}` stops them.",
            highlight=False,
            soft_wrap=True,
        )
    missing = demo.missing(tags_of(DOMAINS, ROUNDS))
    if missing or not finished or not report.exists():
        where = stack.logs(demo.root)
        demo.console.print(f"[red]not finished[/]: tags missing: {missing}; logs in {where}")
        return False
    return True
