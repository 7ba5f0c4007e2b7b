"""`make e2e-camvid DATA=DIR`: CamVid day, then dusk, on real services, simulated annotator.

What the shift report said of dusk as it arrived is set beside the test mIoU of the day model,
brought back from its tag. One seed; about half an hour on two cores. Writes camvid_loop.{json,md}
beside the other results.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.camvid.campaign_report import test_scores, write_loop
from benchmarks.camvid.day_and_dusk import DOMAINS, QUERY_SIZES, ROUNDS, CamVid, locate
from benchmarks.support import RESULTS
from flows.demo.campaign import DemoCampaign, tags_of
from flows.domains.add import add_domain
from flows.loop import open_loop
from flows.rounds.round_facts import round_facts
from flows.services import stack
from flows.versions.restore import restore
from flows.workspace.create import create_workspace
from flows.workspace.position import round_tag
from flows.workspace.workspace import is_workspace
from pipeline import layout
from pipeline.config.params import Params

RATES = ("boundary_noise_px=1", "wrong_class=0.02", "skip=0.03", "edit_after_submit=0.05",
         "double_submit=0.05", "undecodable=0.03")  # fmt: skip
PATIENCE_S = 60 * 60  # with one step


def main() -> int:
    """Exit code 0 when every tag of the campaign is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="holds camvid/ and encoders/")
    parser.add_argument("--directory", type=Path, default=Path("workspaces/camvid"))
    parser.add_argument("--steps", type=int, default=300, help="per training")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    camvid, root = locate(args.data), args.directory.resolve()
    run = DemoCampaign(root, camvid.masks, Console())
    started = time.monotonic()
    with run.phase("copying CamVid, making the workspace"):
        prepare(root, camvid, camvid.settings(seed=args.seed, steps=args.steps))
    run.up(30)
    run.trigger()
    with run.simulated_annotator(RATES, seed=args.seed):
        finished = run.follow(PATIENCE_S)
    with run.phase("reading the test split, once"), open_loop(root) as loop:
        test = test_scores(root, loop.read_params())
        shift = arrival(root, loop.read_params(), round_tag(DOMAINS[0], ROUNDS))
        rounds = round_facts(loop)
    run.done("everything", time.monotonic() - started)
    missing = run.missing(tags_of(DOMAINS, ROUNDS))
    facts = {"seed": args.seed, "steps": args.steps, "test": test, "shift": shift}
    write_loop(rounds, facts | {"seconds": run.seconds})
    run.console.print(run.table())
    for _ in stack.down(root):
        pass
    # The report shows CamVid's images, which may not be passed on: it stays in the workspace.
    run.console.print(f"missing tags: {missing or 'none'}; results in {RESULTS}")
    run.console.print(f"report: {root / layout.REPORT}")
    return 1 if missing or not finished else 0


def arrival(root: Path, params: Params, tag: str) -> dict[str, Any]:
    """What was said of dusk before its labels, and what the day model of a tag reaches on test."""
    dusk = DOMAINS[1]
    said = json.loads((root / layout.shift_report(dusk)).read_text())
    with tempfile.TemporaryDirectory() as folder:
        then = Path(folder) / "then"
        restore(str(root), tag, then, print)
        shutil.rmtree(then / layout.DATA)
        (then / layout.DATA).symlink_to(root / layout.DATA)
        truth = test_scores(then, params)["teacher"][dusk]
    names = ("verdict", "p_value", "proxy_a_distance", "source_miou", "expected_miou")
    return {"domain": dusk, **{name: said[name] for name in names}, "model": tag, "truth": truth}


def prepare(
    root: Path, camvid: CamVid, settings: dict[str, Any], *, all_day_labels: bool = False
) -> None:
    """A fresh workspace with day and dusk waiting; `settings` of params.yaml."""
    if is_workspace(root):
        for _ in stack.down(root):
            pass
    shutil.rmtree(root, ignore_errors=True)
    create_workspace(root, class_names=camvid.classes, overrides=settings)
    with tempfile.TemporaryDirectory() as folder:
        for domain in DOMAINS:
            source = Path(folder) / domain
            rows = camvid.rows(domain)
            if all_day_labels and domain == DOMAINS[0]:
                rows = {id_: "labelled" if s == "pool" else s for id_, s in rows.items()}
            camvid.lay_out(domain, source, rows)
            add_domain(
                root,
                domain,
                images=source / "images",
                masks=camvid.masks,
                splits=source / "splits.csv",
                query_size=QUERY_SIZES[domain],
                budget=QUERY_SIZES[domain] * ROUNDS,
            )


if __name__ == "__main__":
    sys.exit(main())
