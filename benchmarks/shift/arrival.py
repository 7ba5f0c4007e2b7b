"""What the shift report says as dusk arrives at a well-labelled day, on the real services.

`python -m benchmarks.shift.arrival --data DIR`: a workspace whose day images all have labels,
Prefect, Label Studio, git and DVC; one round by day, then dusk is taken in, which makes the report.
It is set beside the test mIoU of that round's teacher, brought back from its tag. `pspnet_mini` is
trained as in the campaign, DeepLabv3+ as in `benchmarks.adaptation`; ten to twenty minutes per seed
on two cores. Writes camvid_arrival.{json,md} beside the other results. With 28 day labels:
`benchmarks.camvid.end_to_end`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.adaptation.trainings import DAY_STEPS, SIZE
from benchmarks.camvid.day_and_dusk import DOMAINS, locate
from benchmarks.camvid.end_to_end import PATIENCE_S, arrival, prepare
from benchmarks.methods.few_labels import with_deeplabv3plus
from benchmarks.support import RESULTS, machine, read_json, table
from flows.demo.campaign import DemoCampaign
from flows.loop import open_loop
from flows.services import stack
from flows.workspace.position import ingest_tag, round_tag
from pipeline.files import write_json, write_text

DAY, DUSK = DOMAINS
STEPS = {"pspnet_mini": 300, "deeplabv3plus": DAY_STEPS}
FILE = RESULTS / "camvid_arrival.json"


def main() -> int:
    """Run the seeds that are missing; exit code 1 where dusk did not arrive."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="holds camvid/ and encoders/")
    parser.add_argument("--directory", type=Path, default=Path("workspaces/camvid-arrival"))
    parser.add_argument("--networks", nargs="+", choices=list(STEPS), default=list(STEPS))
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    found: dict[str, Any] = dict(read_json(FILE)) if FILE.exists() else {}
    for network, seed in product(args.networks, range(args.seeds)):
        name = f"{network}, seed {seed}"
        if name in found:
            continue
        new = arrived(args.directory.resolve(), args.data, network, seed)
        if new is None:
            print(f"{name}: {DUSK} did not arrive", file=sys.stderr)
            return 1
        found[name] = new | {"network": network, "seed": seed, "steps": STEPS[network]}
        write_json(FILE, found)
        write_text(FILE.with_suffix(".md"), "\n".join(page(found)))
    return 0


def arrived(root: Path, data: Path, network: str, seed: int) -> dict[str, Any] | None:
    """What was said of dusk, and the truth; None where it did not come within the limit."""
    camvid = locate(data)
    settings = camvid.settings(seed=seed, steps=STEPS[network])
    if network == "deeplabv3plus":
        settings = with_deeplabv3plus(settings, SIZE)
    prepare(root, camvid, settings, all_day_labels=True)
    run = DemoCampaign(root, camvid.masks, Console())
    try:
        run.up(30)
        run.trigger()
        run.follow(PATIENCE_S, until=ingest_tag(DUSK))
        if run.missing([ingest_tag(DUSK)]):
            return None
    finally:
        for _ in stack.down(root):
            pass
    with open_loop(root) as loop:
        labels = sum(s.labelled for s in loop.workspace.manifest() if s.domain == DAY)
        said = arrival(root, loop.read_params(), round_tag(DAY, 0))
    return said | {"day_labels": labels}


def page(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The Markdown."""
    ordered = sorted(
        found.values(), key=lambda each: (list(STEPS).index(each["network"]), each["seed"])
    )
    rows = [row(each) for each in ordered]
    one = ordered[0]
    return [
        "# What is said as dusk arrives at a well-labelled day",
        "",
        "`python -m benchmarks.shift.arrival --data DIR`: CamVid on Prefect, Label Studio, git "
        f"and DVC, {machine()}. {one['day_labels']} day labels, before any dusk label; the truth "
        "is the test mIoU of that day teacher at dusk. Points of mIoU.",
        "",
        *table(rows),
        "",
    ]


def row(said: Mapping[str, Any]) -> dict[str, str]:
    """Of one seed."""
    value, low, high = (100 * miou for miou in said["expected_miou"])
    truth = 100 * said["truth"]
    return {
        "network": said["network"],
        "steps": str(said["steps"]),
        "seed": str(said["seed"]),
        "verdict": said["verdict"],
        "p": f"{said['p_value']:.4f}",
        "on val by day": f"{100 * said['source_miou'][0]:.1f}",
        "expected at dusk": f"{value:.1f} ({low:.1f} to {high:.1f})",
        "truth": f"{truth:.1f}",
        "off": f"{value - truth:+.1f}",
        "in the interval": "yes" if low <= truth <= high else "no",
    }


if __name__ == "__main__":
    sys.exit(main())
