"""The rounds of `make demo` without services: does the teacher's curve rise, in each of 3 seeds?

`python -m benchmarks.timings.demo_curve`: the demo's scenes, knobs and simulated annotator, and the
stages of the loop in this process. A finished seed is kept, so it can be interrupted. Writes
demo_curve.md.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.support import RESULTS, machine, read_json, table
from flows.annotators.simulated import Behaviour
from flows.demo.demo_settings import DOMAINS, RATES, ROUNDS, draw_domain, settings
from flows.demo.simulate_annotator import behaviour
from pipeline import layout
from pipeline.backtest import answer_query, replay_round, take_in
from pipeline.backtest.replay import hand_over_teacher
from pipeline.config.params import Params, parse_params
from pipeline.data.formats.images import load_mask, save_mask
from pipeline.data.ingest import validate_and_stage
from pipeline.data.synthetic.domains import CLASSES
from pipeline.files import write_json, write_text
from pipeline.records.query import read_query
from pipeline.types import IGNORE

WHO = ("baseline", "teacher")


def main() -> None:
    """Run what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    args = parser.parse_args()
    found = []
    for seed in args.seeds:
        kept = RESULTS / f"demo_curve/seed-{seed}.json"
        if not kept.exists():
            with tempfile.TemporaryDirectory(prefix="ssl-loop-demo-curve-") as folder:
                write_json(kept, run_seed(seed, Path(folder)))
        found.append(read_json(kept))
    write_text(RESULTS / "demo_curve.md", report(found))


def run_seed(seed: int, folder: Path) -> dict[str, Any]:
    """mIoU on val of the current domain after each round, and the CPU seconds of all of them."""
    root, person = folder / "root", behaviour(seed, RATES)
    rounds, arrived, begun = [], list[str](), time.process_time()
    for name in DOMAINS:
        arrive(folder, name, arrived, seed)
        arrived.append(name)
        params = params_of(seed, arrived)
        for number in range(ROUNDS + 1):
            measured = replay_round(root, params)
            miou = {who: measured[who][name]["val"]["miou"] for who in WHO}
            labels = measured["labelled"]
            rounds.append({"domain": name, "round": number, "labels": labels, **miou})
            print(f"seed {seed}: {rounds[-1]}", flush=True)
            hand_over_teacher(root)
            if number < ROUNDS:
                answer(folder, name, number, person)
    return {"seed": seed, "rounds": rounds, "cpu_s": round(time.process_time() - begun)}


def arrive(folder: Path, name: str, before: Sequence[str], seed: int) -> None:
    """Draw a domain under `folder` and add it to `folder`/root."""
    source = draw_domain(name, folder / "truth", seed)
    validate_and_stage(
        name=name,
        images=source / "images",
        masks=source / "masks",
        splits=source / "splits.csv",
        classes=CLASSES,
        existing_domains=before,
        destination=folder / "incoming",
    )
    take_in(folder / "root", folder / "incoming" / name)


def params_of(seed: int, arrived: Sequence[str]) -> Params:
    """The demo's, the domain that arrived last being the current one."""
    domains = {"domain": arrived[-1], "domains": {name: {} for name in arrived}}
    return parse_params({"classes": list(CLASSES), **domains, **settings(seed)})


def answer(folder: Path, name: str, number: int, person: Behaviour) -> None:
    """Give the samples of round `number`'s query the masks that `person` would submit for them."""
    root, answers, skipped = folder / "root", folder / "answers", set[str]()
    for row in read_query(root / layout.QUERY):
        rng = person.generator(f"{row.sample_id}/r{number}")
        if person.kind(rng) == "skip":
            skipped.add(row.sample_id)
        file = f"{row.sample_id.split('/')[1]}.png"
        truth_HW = load_mask(folder / "truth" / name / "masks" / file, len(CLASSES))
        proposed = root / layout.sample_png(layout.PSEUDO_LABELS, row.sample_id)
        before_HW = np.full_like(truth_HW, IGNORE)
        if proposed.exists():
            before_HW = load_mask(proposed, len(CLASSES))
        wanted = person.wanted(before_HW, truth_HW, len(CLASSES), rng)
        save_mask(answers / file, wanted.mask_HW)
    answer_query(root, answers, skipped)


def holds(rounds: Sequence[dict[str, Any]]) -> bool:
    """Of the rounds of one domain: the teacher ends above its start and not below the baseline."""
    first, last = rounds[0], rounds[-1]
    return bool(last["teacher"] > first["teacher"] and last["teacher"] >= last["baseline"])


def report(found: Sequence[dict[str, Any]]) -> str:
    """A row for each seed and domain."""
    rows = []
    for run in found:
        for name in DOMAINS:
            rounds = [each for each in run["rounds"] if each["domain"] == name]
            curves = {who: " ".join(f"{each[who]:.3f}" for each in rounds) for who in WHO}
            labels = " ".join(str(each["labels"]) for each in rounds)
            said = "yes" if holds(rounds) else "no"
            row = {"seed": run["seed"], "domain": name, "labels": labels, **curves}
            rows.append({**row, "rises and ends at or above": said, "CPU s of all": run["cpu_s"]})
    lines = [
        "# The curves of `make demo`",
        "",
        f"`python -m benchmarks.timings.demo_curve`: mIoU on val of the current domain after each "
        f"round, labels of both domains, the stages of the loop without services. The knobs were "
        f"chosen on other seeds. {machine()}.",
        "",
        *table(rows),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
