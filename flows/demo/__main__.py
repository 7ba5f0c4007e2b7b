"""`make demo`: the whole loop on real services with synthetic scenes and a simulated annotator.

Two rounds by day, the shift to dusk, two rounds there; then a table, two addresses and a report.
Exit code 0 only if all of it happened.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
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
from pipeline.errors import SslLoopError

PATIENCE_S = 20 * 60  # with one step; the whole may take as long as it takes
STARTED = "SSL_LOOP_DEMO_STARTED"  # Unix time, set by make before it installs


def prepare(root: Path, truth: Path, seed: int) -> None:
    """A fresh workspace and the synthetic pair; the last demo's services are stopped first."""
    if is_workspace(root):
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


def main() -> int:
    """Exit code 0 when both domains went through all their rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, default=Path("workspaces/demo"))
    parser.add_argument("--seed", type=int, default=0, help="of scenes, trainings and answers")
    parser.add_argument("--schedule", type=int, default=20, help="seconds between ticks")
    parser.add_argument("--down", action="store_true", help="stop the services at the end")
    args = parser.parse_args()
    if not 0 <= args.seed < ENCODER_SEED:
        parser.error(
            f"--seed {args.seed}: expected 0 to {ENCODER_SEED - 1}; the demo's encoder has learnt "
            f"from scenes of seed {ENCODER_SEED}"
        )
    root = args.directory.resolve()
    demo = DemoCampaign(root, root.with_name(f"{root.name}-truth"), Console())
    try:
        finished = run(demo, args.seed, args.schedule)
    except SslLoopError as error:
        demo.console.print(f"[red]Error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        return 1
    return close(demo, finished, stop=args.down)


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


def close(demo: DemoCampaign, finished: bool, *, stop: bool) -> int:
    """Say what came out and where to look; the exit code."""
    demo.console.print(demo.table())
    for line in stack.addresses(demo.root):
        demo.console.print(escape(line), highlight=False, soft_wrap=True)
    report = demo.root / layout.REPORT
    demo.console.print(f"Report:       {report}", highlight=False, soft_wrap=True)
    if stop:
        for line in stack.down(demo.root):
            demo.console.print(line)
    else:
        demo.console.print("The services stay up to look around; `make down` stops them.")
    missing = demo.missing(tags_of(DOMAINS, ROUNDS))
    if missing or not finished or not report.exists():
        where = stack.logs(demo.root)
        demo.console.print(f"[red]not finished[/]: tags missing: {missing}; logs in {where}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
