"""Tables of `benchmarks.shift.rules`: how far off each rule is.

R rehearsals of one network: said_R and true_R are their falls, direction_R the cosine between the
way to the images that are asked about and the way that each alteration goes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from benchmarks.camvid.day_and_dusk import DOMAINS
from benchmarks.support import RESULTS, table
from pipeline.files import write_text
from pipeline.shift.corruption_calibration import ALIKE, LEAST, Rehearsal, trust
from pipeline.shift.miou_estimate import SURE

Floats = NDArray[np.float64]
Rule = Callable[[float, Floats, Floats, Floats], float]
"""(said, said_R, true_R, direction_R) -> true fall."""

DUSK = DOMAINS[1]
AS_IT_IS = "as it is"
GROUPS = {
    "one": "altered in one way",
    "several": "in several at once",
    "drive": "the other drive",
    "drive, one": "the same, in one way",
    "drive, several": "in several",
}
IN_USE = f"by direction, {ALIKE:.0f}: in use"
SHOWN = ("thresholds alone", "least squares, all alike", IN_USE)


def _line(alike: float, *, by_fall: bool) -> Rule:
    """Least squares through the origin; `by_fall`: with a variance that grows as the fall does."""

    def rule(said: float, said_R: Floats, true_R: Floats, direction_R: Floats) -> float:
        large_R = np.maximum(np.abs(said_R), LEAST) if by_fall else 1
        pull_R = np.exp(alike * direction_R) / large_R * said_R
        return said * max(0.0, float(pull_R @ true_R / (pull_R @ said_R)))

    return rule


def _bent(said: float, said_R: Floats, true_R: Floats, direction_R: Floats) -> float:
    """true = a said + b said^2, both at least 0, with a variance that grows as the fall does."""
    root_R = 1 / np.sqrt(np.maximum(said_R, LEAST))
    terms = np.stack([said_R, said_R**2], axis=1) * root_R[:, None]
    (one, two), _ = nnls(terms, true_R * root_R)
    return float(one * said + two * said**2)


def _in_use(said: float, said_R: Floats, true_R: Floats, direction_R: Floats) -> float:
    return said * trust(_rehearsals(said_R, true_R, direction_R)).scale


RULES: dict[str, Rule] = {
    SHOWN[0]: lambda said, *_: said,
    SHOWN[1]: _line(0, by_fall=False),
    "the same, by fall": _line(0, by_fall=True),
    "a bent line, all alike": _bent,
    "by direction, 2": _line(2, by_fall=True),
    IN_USE: _in_use,
    "by direction, 4, not by fall": _line(4, by_fall=False),
    "by direction, 6": _line(6, by_fall=True),
    "by direction, 8": _line(8, by_fall=True),
}


class AskedGroup(NamedTuple):
    """One group of images that one network was asked about."""

    network: Mapping[str, Any]
    name: str
    figures: Mapping[str, Any]

    def off(self, rule: Rule) -> float:
        """Expected minus true mIoU, by the rehearsals that are not the same alteration."""
        fall = rule(self.figures["said"], *self._used())
        return float(self.figures["true"] - fall)

    def held(self) -> bool:
        """Whether what the line in use leaves over holds the truth."""
        spread = trust(_rehearsals(*self._used())).spread
        room = SURE * spread * abs(self.figures["said"]) ** 0.5
        return abs(self.off(RULES[IN_USE])) <= room

    def _used(self) -> tuple[Floats, Floats, Floats]:
        rehearsed = self.network["rehearsals"]
        used = [name for name in rehearsed if name != self.name]
        return (
            np.array([rehearsed[name]["said"] for name in used]),
            np.array([rehearsed[name]["true"] for name in used]),
            np.array([self.figures["direction"][name] for name in used]),
        )


def write_report(found: Sequence[Mapping[str, Any]]) -> None:
    """The Markdown."""
    every = [
        AskedGroup(each, name, figures) for each in found for name, figures in each["asked"].items()
    ]
    by_group = _grouped(every, _group)
    devices = " and ".join(sorted({each["device"] for each in found}))
    networks = list(dict.fromkeys(each["network"] for each in found))
    rows = [
        {"rule": name} | {title: _off(by_group[key], rule) for key, title in GROUPS.items()}
        for name, rule in RULES.items()
    ]
    held = {title: _share(by_group[key]) for key, title in GROUPS.items()}
    lines = [
        "# How far a fall that thresholds say is to be believed",
        "",
        f"`python -m benchmarks.shift.rules --data DIR`: {len(found)} networks trained on CamVid's "
        f"day images, {devices}. Expected minus true mIoU, in points: root mean square (mean). An "
        "alteration that is asked about is not among the rehearsals; *several at once* and the "
        "other drive never are. Direction: the weight is e to the number times the cosine.",
        "",
        *table([*rows, {"rule": "held by the line's own interval, in use"} | held]),
        "",
        "By network and steps, all five groups: root mean square.",
        "",
        *table(_by_network(every, networks)),
        "",
        f"## {DUSK.capitalize()}",
        "",
        "By which no rule was chosen: the 62 images of dusk's train split with all their masks, "
        "expected minus true mIoU from the worst to the best of the networks.",
        "",
        *table(_at_dusk(every, networks)),
        "",
    ]
    write_text(RESULTS / "shift_rules.md", "\n".join(lines))


def _by_network(every: Iterable[AskedGroup], networks: Iterable[str]) -> list[dict[str, str]]:
    chosen = _grouped(
        (each for each in every if _group(each)), lambda each: each.network["network"]
    )
    return [
        {"network": name} | {rule: f"{_rms(chosen[name], RULES[rule]):.1f}" for rule in SHOWN}
        for name in networks
    ]


def _at_dusk(every: Iterable[AskedGroup], networks: Iterable[str]) -> list[dict[str, str]]:
    there = [each for each in every if each.name == DUSK]
    rows = []
    for name in networks:
        own = [each for each in there if each.network["network"] == name]
        row = {"network": name, "networks": str(len(own))}
        for rule in SHOWN:
            offs = [100 * each.off(RULES[rule]) for each in own]
            within = sum(abs(off) <= 6 for off in offs)
            row[rule] = f"{min(offs):+.1f} to {max(offs):+.1f}; {within} within 6"
        rows.append(row)
    return rows


def _group(asked: AskedGroup) -> str:
    """Of `GROUPS`; "" for what is not asked for choosing."""
    apart = asked.network["learnt"][0] == "0"  # one drive, asked about the other
    if asked.name == DUSK or (asked.name == AS_IT_IS and not apart):
        return ""
    if asked.name == AS_IT_IS:
        return "drive"
    count = "one" if asked.name in asked.network["rehearsals"] else "several"
    return f"drive, {count}" if apart else count


def _grouped(
    every: Iterable[AskedGroup], key: Callable[[AskedGroup], str]
) -> dict[str, list[AskedGroup]]:
    found: dict[str, list[AskedGroup]] = defaultdict(list)
    for each in every:
        found[key(each)].append(each)
    return found


def _off(group: Sequence[AskedGroup], rule: Rule) -> str:
    mean = np.mean([each.off(rule) for each in group])
    return f"{_rms(group, rule):.1f} ({100 * mean:+.1f})"


def _rms(group: Sequence[AskedGroup], rule: Rule) -> float:
    return 100 * float(np.sqrt(np.mean([each.off(rule) ** 2 for each in group])))


def _share(group: Sequence[AskedGroup]) -> str:
    return f"{100 * np.mean([each.held() for each in group]):.0f} %"


def _rehearsals(said_R: Floats, true_R: Floats, direction_R: Floats) -> list[Rehearsal]:
    return [
        Rehearsal(name="", expected_fall=said, true_fall=true, direction=direction)
        for said, true, direction in zip(said_R, true_R, direction_R, strict=True)
    ]
