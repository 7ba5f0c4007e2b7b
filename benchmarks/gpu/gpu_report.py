"""Every piece that is kept, as gpu.md: a table for each device and scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.support import POINTS, RESULTS, read_json, table

KEPT = RESULTS / "gpu"
WHAT = (
    "DeepLabV3+ on MobileNetV2. Rates are shares of bare passes of the same network in the same "
    "process; batches, losses, optimiser, teacher, scores and PNGs are what comes on top. On a CPU "
    "seconds are those that its cores worked, which other programs do not change; what is done "
    "beside a step then counts as if it were done before."
)
STEP_BAR, PREDICT_BAR = 90, 85  # percent of bare passes


def report() -> str:
    """The page; CPU figures are called so."""
    by_run: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for path in sorted(KEPT.glob("*.json")):
        piece = {**read_json(path), "file": path.stem}
        device = "CPU" if path.stem.startswith("cpu-") else "GPU"
        by_run.setdefault((f"{device}, {piece['scale']} sizes", piece["machine"]), []).append(piece)
    lines = [
        "# What a GPU gives",
        "",
        f"`make gpu-bench DATA=DIR`: {WHAT} Wanted: {STEP_BAR} % of a step, {PREDICT_BAR} % of a "
        "prediction.",
        "",
    ]
    if not any(name.startswith("GPU") for name, _ in by_run):
        lines += ["No GPU was there yet: these are figures of a CPU at a small size.", ""]
    for (name, machine), pieces in sorted(by_run.items()):
        lines += [f"## {name}", "", f"{machine}.", "", *_tables(pieces)]
    return "\n".join(lines)


def _tables(pieces: Sequence[dict[str, Any]]) -> list[str]:
    rates = [
        {
            "method": piece["method"],
            "image": piece["image"],
            "tile": piece["tile"],
            "batch": piece["batch"],
            "steps a second": 1 / piece["step_s"],
            "step, % of bare": round(POINTS * piece["bare_step_s"] / piece["step_s"]),
            "images a second": 1 / piece["image_s"],
            "predict, % of bare": round(POINTS * piece["bare_image_s"] / piece["image_s"]),
        }
        for piece in pieces
        if piece["kind"] == "rates"
    ]
    trained = [
        {
            "labels": piece["fraction"],
            "images": piece["labelled"],
            "method": piece["method"],
            "size": piece["image"],
            "steps": piece["steps"],
            "mIoU": f"{POINTS * piece['miou']:.1f} on {piece['judged']}",
        }
        for piece in pieces
        if piece["kind"] == "camvid"
    ]
    found = []
    for rows in (rates, trained):
        if rows:
            found += [*table(rows), ""]
    return found
