"""Take the screenshots of docs/images: `python -m docs.screenshots`, about ten minutes, Chromium.

Makes a workspace of synthetic scenes, turns two rounds with a simulated annotator, and looks at
what then waits for people: the task in Label Studio, the run in Prefect, the report.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from flows.annotators.simulated import SimulatedAnnotator
from flows.demo.campaign import DemoCampaign
from flows.domains.add import add_domain
from flows.loop import open_loop
from flows.services import prefect_server, stack
from flows.views.status import status
from flows.workspace.create import create_workspace
from flows.workspace.credentials import credentials
from pipeline import layout
from pipeline.data.synthetic.domains import CLASSES, make_domain
from tests.support.browser import log_into_prefect, logged_in, open_next_task

IMAGES = Path(__file__).parent / "images"
ROUNDS = 2
SIZE = {"height_px": 192, "width_px": 256}
SETTINGS: dict[str, Any] = {
    "image": {"height_px": 96, "width_px": 128},
    "train": {"steps": 200, "learning_rate": 2e-3, "encoder_learning_rate": 2e-3},
    "method": {"ema_decay": 0.9, "confidence_threshold": 0.8},
    "acquire": {"query_size": 8},
    "loop": {"budget": 8 * (ROUNDS + 1)},
}
SETTLE_MS = 8000  # both tools draw after their pages have loaded
LIMIT_S = 1800


def main() -> None:
    """docs/images/{label-studio-task,prefect-run,report}.png."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ssl-loop-screenshots-"))
    root, truth = folder / "streets", folder / "truth"
    make_domain("day", truth, num_labelled=12, num_pool=60, num_val=12, **SIZE)
    create_workspace(root, class_names=CLASSES, overrides=SETTINGS)
    add_domain(
        root, "day", images=truth / "images", masks=truth / "masks", splits=truth / "splits.csv"
    )
    run = DemoCampaign(root, truth, Console())
    try:
        run.up(10)
        run.trigger()
        for index in range(ROUNDS):
            wait_for_query(root, f"day/r{index}")
            answer(root, truth)
        wait_for_query(root, f"day/r{ROUNDS}")
        take(root)
    finally:
        for _ in stack.down(root):
            pass
    shutil.rmtree(folder)


def wait_for_query(root: Path, tag: str) -> None:
    """Until the round's query stands in Label Studio; SystemExit when it takes too long."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        with open_loop(root) as loop:
            now = status(loop)
            if tag in loop.workspace.tags_merged() and now.asked == now.published > 0:
                return
        time.sleep(2)
    raise SystemExit(f"{tag} did not come within {LIMIT_S} s; logs in {stack.logs(root)}")


def answer(root: Path, truth: Path) -> None:
    """All open tasks, by true masks."""
    with open_loop(root) as loop:
        project_id = loop.project("day").project_id
        person = SimulatedAnnotator(*stack.annotation_tool(root, loop.read_params()), truth)
    person.answer(project_id)


def take(root: Path) -> None:
    """The three pictures."""
    daemons, secret = stack.read_daemons(root), credentials(root)
    with open_loop(root) as loop:
        project = loop.project("day")
    IMAGES.mkdir(exist_ok=True)
    studio = daemons[stack.LABEL_STUDIO].url
    person = (secret.label_studio_email, secret.label_studio_password)
    with logged_in(studio, *person) as page:
        open_next_task(page, project.url, (SIZE["height_px"], SIZE["width_px"]))
        page.screenshot(path=IMAGES / "label-studio-task.png")
        page.goto((root / layout.REPORT).as_uri())
        page.screenshot(path=IMAGES / "report.png")
        longest_run(page, root)
        page.screenshot(path=IMAGES / "prefect-run.png")


def longest_run(page: Any, root: Path) -> None:
    """Open the run of a whole round, with its tasks and artifacts."""
    server = prefect_server.api(root)
    if server is None:
        raise SystemExit("no prefect.toml: `up` did not write it")
    body = {"sort": "END_TIME_DESC", "limit": 50}
    runs = prefect_server.request("POST", server, "/flow_runs/filter", body)
    longest = max(runs, key=lambda run: run["total_run_time"])
    log_into_prefect(page, server.url, server.auth)
    page.goto(f"{server.url}/runs/flow-run/{longest['id']}")
    page.wait_for_timeout(SETTLE_MS)


if __name__ == "__main__":
    main()
