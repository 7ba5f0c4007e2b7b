"""Table and plot of the methods benchmark."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.support import POINTS, RESULTS, machine, pyplot, save_plot, spread, table
from pipeline.files import write_json, write_text

KEYS = ("method", "model", "labelled_fraction", "seed", "miou", "steps", "image_size", "device")
ALL = "1/1"  # labelled: every image but those of val


def write_report(runs: Sequence[Mapping[str, Any]]) -> None:
    """methods.json, methods.md and methods.svg from the results there are."""
    optional = ("miou_by_domain", "test_miou", "test_read")
    kept = [{key: run[key] for key in (*KEYS, *optional) if key in run} for run in runs]
    write_json(RESULTS / "methods.json", kept)
    lines = [
        "# Methods on CamVid with few labels",
        "",
        "`python -m benchmarks.methods --data DIR`. mIoU in points on val, both domains' pixels "
        "together; the last step's network; mean +- sample standard deviation over the seeds. "
        "Gain: the mean of the differences to `supervised` of the same seed.",
        "",
    ]
    for chosen in by_setting(runs):
        lines += [f"## {heading(chosen[0])}", "", *table(rows_of(chosen)), ""]
        lines += [ceiling_of(chosen, runs), ""]
    lines += [f"Measured on {machine()}.", "", "![mIoU by method](methods.svg)", ""]
    write_text(RESULTS / "methods.md", "\n".join(lines))
    plot(runs)


def by_setting(runs: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Runs that are compared with one another; those with all labels belong to every fraction."""
    few = [run for run in runs if run["labelled_fraction"] != ALL]
    settings = dict.fromkeys(setting_of(run) for run in few)
    return [[run for run in few if setting_of(run) == setting] for setting in settings]


def ceiling_of(chosen: Sequence[Mapping[str, Any]], runs: Sequence[Mapping[str, Any]]) -> str:
    """What the labels of all images add to the baseline of the same seeds, in a sentence."""
    wanted = setting_of({**chosen[0], "labelled_fraction": ALL})
    ceiling = {run["seed"]: run for run in runs if setting_of(run) == wanted}
    baseline = {run["seed"]: run["miou"] for run in chosen if run["method"] == "supervised"}
    gains = [run["miou"] - baseline[seed] for seed, run in ceiling.items() if seed in baseline]
    if not gains:
        return "`supervised` with all labels: not run."
    found = spread([run["miou"] for run in ceiling.values()])
    return (
        f"`supervised` with all {next(iter(ceiling.values()))['labelled']} labels: {found}, gain "
        f"{spread(gains, sign=True)}: about the most that unlabelled images can add in as many "
        "steps."
    )


def setting_of(run: Mapping[str, Any]) -> tuple[Any, ...]:
    """What has to be equal for runs to be compared."""
    return tuple(run[key] for key in KEYS if key not in ("method", "seed", "miou"))


def heading(run: Mapping[str, Any]) -> str:
    """A setting in words."""
    return (
        f"{run['labelled_fraction']} of 367 labelled ({run['labelled']} images), {run['model']}, "
        f"{run['image_size']}, {run['steps']} steps, {run['device']}"
    )


def rows_of(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row per method, the best mean first."""
    baseline = {run["seed"]: run["miou"] for run in runs if run["method"] == "supervised"}
    rows = []
    for method in dict.fromkeys(run["method"] for run in runs):
        own = [run for run in runs if run["method"] == method]
        gains = [run["miou"] - baseline[run["seed"]] for run in own if run["seed"] in baseline]
        tests = [run["test_miou"] for run in own if "test_miou" in run]
        rows.append(
            {
                "method": method,
                "seeds": len(own),
                "mIoU": spread([run["miou"] for run in own]),
                "gain": spread(gains, sign=True) if gains else "-",
                "each seed": ", ".join(f"{POINTS * run['miou']:.1f}" for run in own),
                "test": spread(tests) if tests else "-",
            }
        )
    return sorted(rows, key=lambda row: -float(row["mIoU"].split()[0]))


def plot(runs: Sequence[Mapping[str, Any]]) -> None:
    """One dot per seed, a bar for the mean; the first setting's runs."""
    settings = by_setting(runs)
    if not settings:
        return
    chosen = settings[0]
    names = [row["method"] for row in rows_of(chosen)][::-1]
    figure, axis = pyplot().subplots(figsize=(7, 0.8 + 0.3 * len(names)))
    for place, name in enumerate(names):
        values = [POINTS * run["miou"] for run in chosen if run["method"] == name]
        colour = "#888888" if name == "supervised" else "#2563c9"
        axis.plot(values, [place] * len(values), "o", color=colour, markersize=5, alpha=0.6)
        mean = statistics.fmean(values)
        axis.plot([mean, mean], [place - 0.3, place + 0.3], color=colour, linewidth=2)
    axis.set_yticks(range(len(names)), names)
    axis.set_xlabel("mIoU on val, points")
    axis.set_title(heading(chosen[0]), fontsize=9)
    axis.grid(axis="x", alpha=0.3)
    figure.tight_layout()
    save_plot(figure, RESULTS / "methods.svg")
