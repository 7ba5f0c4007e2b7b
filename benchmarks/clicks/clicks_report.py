"""clicks.md out of what was measured."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.clicks.seconds import Counted, SecondsPerAct
from benchmarks.support import table

PACES = {"half": 0.5, "as stated": 1.0, "twice": 2.0}


def report(found: dict[str, Any]) -> str:
    """Markdown; of the parts that there are."""
    lines = [
        "# Click to mask by the teacher",
        "",
        f"`python -m benchmarks.clicks`, {found['machine']}.",
    ]
    parts = {"quality": _quality, "cars": _cars, "seconds": _seconds, "speed": _speed}
    for name, tell in parts.items():
        if name in found:
            lines += ["", *tell(found[name])]
    return "\n".join(lines) + "\n"


def _quality(found: dict[str, Any]) -> list[str]:
    rows = [
        {
            "images": name,
            "things": each["things"],
            **{f"{clicks} clicks": each["iou"][clicks - 1] for clicks in (1, 2, 3, 5)},
            "median, 1": each["median"][0],
            "median, 5": each["median"][4],
        }
        for name, each in found.items()
    ]
    return [
        "## IoU of a thing",
        "",
        "The three largest connected areas of each class, mean IoU after so many simulated clicks; "
        "a probe of 12 labels.",
        "",
        *table(rows),
    ]


def _cars(found: dict[str, Any]) -> list[str]:
    rows = [{"labels": labels, **each} for labels, each in found.items()]
    return [
        "## One click on a synthetic car",
        "",
        "IoU; `above`: cars over .8. Streets of 96x128 pixels, cars of 150 pixels or more.",
        "",
        *table(rows),
    ]


def _seconds(found: dict[str, Any]) -> list[str]:
    images = [(Counted(**row["outlined"]), Counted(**row["clicked"])) for row in found["images"]]
    rows = []
    for pace, factor in PACES.items():
        acts = SecondsPerAct(click=SecondsPerAct.click * factor)
        drawn = [one.seconds(acts) for one, _ in images]
        mended = [other.seconds(acts) for _, other in images]
        shares = [b / a for a, b in zip(drawn, mended, strict=True)]
        rows.append(
            {
                "seconds of a click": f"{acts.click:.2f} ({pace})",
                "outlined, s": round(statistics.median(drawn)),
                "clicked and mended, s": round(statistics.median(mended)),
                "share, median": statistics.median(shares),
            }
        )
    acts = SecondsPerAct()
    means = {
        name: statistics.fmean(getattr(pair[1], name) for pair in images)
        for name in ("begins", "points", "clicks")
    }
    return [
        "## Seconds of a person, CamVid",
        "",
        f"Median of {len(images)} images; every connected area of 30 pixels or more to an IoU of "
        f".95 with the truth. {acts.begin} s to begin a region, {acts.point} s for a point of a "
        "polygon; all paces together halved or doubled change no share. Who clicks makes "
        f"{means['clicks']:.0f} clicks, begins {means['begins']:.0f} regions and sets "
        f"{means['points']:.0f} points an image.",
        "",
        *table(rows),
    ]


def _speed(found: dict[str, Any]) -> list[str]:
    rows = [
        {
            "image": name,
            "step": kind,
            "times": each[kind]["times"],
            "CPU seconds, median": each[kind]["cpu_s"],
            "least by the clock, s": each[kind]["least_clock_s"],
        }
        for name, each in found.items()
        if isinstance(each, dict)
        for kind in each
    ]
    return [
        "## Speed",
        "",
        "One thread; a first click reads what was prepared from the disk. The process holds "
        f"{found['memory_mib']} MiB at the end.",
        "",
        *table(rows),
    ]
