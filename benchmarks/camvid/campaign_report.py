"""Tables and plots of the CamVid benchmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.support import POINTS, RESULTS, machine, pyplot, save_plot, spread, table
from pipeline.config.params import Params
from pipeline.files import write_json, write_text
from pipeline.report.data import RoundFacts
from pipeline.stages.evaluate import evaluate_split

KINDS = ("baseline", "teacher")


def test_scores(root: Path, params: Params) -> dict[str, dict[str, float | None]]:
    """`kind -> domain -> mIoU` of the models in `root` on the test split."""
    found = evaluate_split(root, params, "test")
    return {
        kind: {domain: scores["test"]["miou"] for domain, scores in found[kind].items()}
        for kind in KINDS
    }


def write_loop(rounds: Sequence[RoundFacts], facts: Mapping[str, Any]) -> None:
    """camvid_loop.json and camvid_loop.md."""
    rows = [
        {
            "domain": row.domain,
            "round": row.round_index,
            "labels": row.labelled,
            "baseline": row.miou_baseline,
            "teacher": row.miou_teacher,
            "accepted": row.accepted,
            "skipped": row.skipped,
            "corrected": row.corrected,
            "quarantined": row.quarantined,
        }
        for row in rounds
    ]
    write_json(RESULTS / "camvid_loop.json", {**facts, "rounds": rows})
    lines = [
        "# CamVid day, then dusk, on the real services",
        "",
        f"`make e2e-camvid DATA=DIR`: seed {facts['seed']}, {facts['steps']} steps per training, "
        f"{machine()}.",
        "mIoU on val (blocks held out of the train sequences, per domain).",
        "",
        *table(rows),
        "",
        f"Test, read once at the end: {_scores(facts['test'])}.",
        "",
        _arrival(facts["shift"]),
        "",
        "| phase | seconds |",
        "|---|---:|",
        *(f"| {name} | {value:.0f} |" for name, value in facts["seconds"].items()),
        "",
    ]
    write_text(RESULTS / "camvid_loop.md", "\n".join(lines))


def _arrival(shift: Mapping[str, Any]) -> str:
    value, low, high = (POINTS * miou for miou in shift["expected_miou"])
    truth = POINTS * shift["truth"]
    return (
        f"Shift report as {shift['domain']} arrived, before any of its labels: {shift['verdict']} "
        f"(p {shift['p_value']:g}), {value:.1f} mIoU to expect ({low:.1f} to {high:.1f}). The "
        f"teacher of {shift['model']} reaches {truth:.1f} on its test images: off by "
        f"{value - truth:+.1f}, "
        f"{'inside' if low <= truth <= high else 'outside'} the interval."
    )


def write_seeds(found: Mapping[int, Mapping[str, Any]], *, steps: int) -> None:
    """camvid_seeds.json, .md and .svg: every seed, their mean and spread."""
    write_json(RESULTS / "camvid_seeds.json", [found[seed] for seed in sorted(found)])
    runs = [found[seed] for seed in sorted(found)]
    rows = []
    for index, first in enumerate(runs[0]["rounds"]):
        domain = first["domain"]
        row: dict[str, Any] = {
            "domain": domain,
            "round": first["round"],
            "labels": first["labelled"],
        }
        for kind in KINDS:
            values = [run["rounds"][index][kind][domain]["val"]["miou"] for run in runs]
            row[kind] = spread(values)
            row[f"{kind}, each seed"] = ", ".join(f"{POINTS * value:.1f}" for value in values)
        gains = [
            r["teacher"][domain]["val"]["miou"] - r["baseline"][domain]["val"]["miou"]
            for r in (run["rounds"][index] for run in runs)
        ]
        row["teacher - baseline"] = spread(gains, sign=True)
        rows.append(row)
    tests = [{"seed": run["seed"], "scores": _scores(run["test"])} for run in runs]
    lines = [
        "# CamVid day, then dusk: the same rounds without services",
        "",
        f"`python -m benchmarks.camvid.several_seeds --data DIR`: {len(runs)} seeds, {steps} steps "
        f"per training, {' and '.join(sorted({run['device'] for run in runs}))}. mIoU in points on "
        "val, mean +- sample standard deviation.",
        "",
        *table(rows),
        "",
        "Test, read once per seed, after the last round:",
        "",
        *table(tests),
        "",
        "![Learning curves](camvid_seeds.svg)",
        "",
    ]
    write_text(RESULTS / "camvid_seeds.md", "\n".join(lines))
    _plot(runs)


def _scores(test: Mapping[str, Any]) -> str:
    return "; ".join(
        f"{kind} {domain} {'-' if value is None else f'{POINTS * value:.1f}'}"
        for kind, scores in test.items()
        for domain, value in scores.items()
    )


def _plot(runs: Sequence[Mapping[str, Any]]) -> None:
    domains = list(dict.fromkeys(r["domain"] for r in runs[0]["rounds"]))
    figure, axes = pyplot().subplots(1, len(domains), figsize=(5 * len(domains), 3.6), sharey=True)
    for axis, domain in zip(axes, domains, strict=True):
        for kind, colour in zip(KINDS, ("#888888", "#c2410c"), strict=True):
            for run in runs:
                rounds = [r for r in run["rounds"] if r["domain"] == domain]
                labels = [r["labelled"] for r in rounds]
                scores = [POINTS * r[kind][domain]["val"]["miou"] for r in rounds]
                name = kind if run is runs[0] else None
                axis.plot(labels, scores, "o-", color=colour, alpha=0.7, label=name, markersize=4)
        axis.set_title(f"{domain}: every seed")
        axis.set_xlabel("labelled images, both domains")
    axes[0].set_ylabel("mIoU on val")
    axes[0].legend(frameon=False)
    figure.tight_layout()
    save_plot(figure, RESULTS / "camvid_seeds.svg")
