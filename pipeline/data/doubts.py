"""What of a domain looks like a mistake though every file of it can be read.

Masks of which a viewer shows white objects on black often hold 0 and 255, and 255 means "nobody
knows" here: a training then learns one class and says so nowhere. And an image that teaches and
judges makes every figure too good.

Doubts are refused unless a person accepts them; notes are said and stop nothing. K classes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.records.manifest import Sample
from pipeline.types import IGNORE

SHOWN = 10  # names in one sentence
HELD_OUT = ("val", "test")
DUPLICATE = "duplicate: the same pixels as"

Counts = NDArray[np.int64]  # pixels by value, 256 of them


@dataclass
class Doubts:
    """Sentences for the person who brings a domain; grows."""

    doubts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def settle(self, name: str, *, accept: bool) -> list[str]:
        """All of them as notes; DataError for doubts that nobody accepted."""
        if self.doubts and not accept:
            raise DataError(
                f"domain {name}: {len(self.doubts)} thing(s) look like a mistake, and nothing was "
                "ingested. Mend them, or say --accept if it is meant so:\n  "
                + "\n  ".join(self.doubts)
            )
        return [*(f"accepted: {doubt}" for doubt in self.doubts), *self.notes]


def role(sample: Sample) -> str:
    """What an image is for: labelled, pool, val or test."""
    return "labelled" if sample.labelled else sample.split


def doubt_links(found: Doubts, links: Mapping[Path, Path]) -> None:
    """Files that lie elsewhere, where others may keep what nobody is to see; `link -> file`."""
    if links:
        named = _some([f"{link} -> {file}" for link, file in links.items()])
        found.doubts.append(
            f"{len(links)} file(s) are links out of the folder; what they lead to would be copied: "
            f"{named}"
        )


def doubt_masks(
    found: Doubts, counts: Mapping[str, Counts], splits: Mapping[str, str], classes: Sequence[str]
) -> None:
    """By what the masks of a domain hold together; `counts` and `splits` by stem."""
    if not counts:
        return
    total = np.sum(list(counts.values()), axis=0)
    there = [index for index in range(len(classes)) if total[index]]
    absent = _named(classes, set(range(len(classes))) - set(there))
    ignored = f"{total[IGNORE] / total.sum():.0%} of their pixels are {IGNORE} = ignore"
    if len(there) < 2:
        only = f"one class alone, {_named(classes, there)}" if there else "no class at all"
        found.doubts.append(
            f"the {len(counts)} masks together show {only}; {ignored}, and no pixel is {absent}."
            + _meant_as_class(bool(total[IGNORE]))
        )
        return
    if absent:
        found.notes.append(
            f"no pixel of the {len(counts)} masks is {absent}, so nothing can be learnt of it here "
            f"yet; {ignored}"
        )
    _note_val(found, counts, splits, classes, there)
    hollow = [stem for stem, each in counts.items() if each[IGNORE] and _num_classes(each) < 2]
    if hollow and len(classes) == 2:
        found.notes.append(
            f"masks that hold {IGNORE} beside one class at most: {_some(hollow)}."
            + _meant_as_class(True)
        )


def doubt_copies(found: Doubts, pixels: Mapping[str, str], splits: Mapping[str, str]) -> None:
    """Within a domain: the same pixels under two names; `pixels` has their hash by stem."""
    groups: dict[str, list[str]] = {}
    for stem, digest in pixels.items():
        if splits[stem] != "pool":
            groups.setdefault(digest, []).append(stem)
    for stems in groups.values():
        named = ", ".join(f"{stem} ({splits[stem]})" for stem in stems)
        if len(stems) > 1 and len({splits[stem] for stem in stems}) > 1:
            found.doubts.append(f"the same pixels teach and judge, or judge twice: {named}")
        elif len(stems) > 1:
            found.notes.append(f"the same pixels, so they count twice: {named}")


def doubt_known(
    found: Doubts,
    alike: Mapping[str, Iterable[Sample]],
    splits: Mapping[str, str],
    kept: Collection[str],
) -> dict[str, str]:
    """Images of other domains that have the same pixels; `alike` has them by stem.

    Images of the pool to leave out because they are known, by stem, each with the reason; but not
    the stems `kept`.
    """
    left_out: dict[str, str] = {}
    in_use = {stem: [each for each in those if not each.left_out] for stem, those in alike.items()}
    if len([those for those in in_use.values() if those]) == len(splits):
        domains = sorted({each.domain for those in in_use.values() for each in those})
        found.doubts.append(f"every image is in {_some(domains)} already")
    for stem, others in in_use.items():
        for other in others:
            own, theirs = splits[stem], role(other)
            there = f"{stem} ({own}) has the same pixels as {other.sample_id} ({theirs})"
            if own == "pool" and stem not in kept:
                left_out[stem] = f"{DUPLICATE} {other.sample_id}"
            elif own != theirs and {own, theirs} & {*HELD_OUT}:
                found.doubts.append(f"{there}: it would judge what it was learnt from")
            else:
                found.notes.append(there)
    return left_out


def _note_val(
    found: Doubts,
    counts: Mapping[str, Counts],
    splits: Mapping[str, str],
    classes: Sequence[str],
    there: Sequence[int],
) -> None:
    val = [each for stem, each in counts.items() if splits[stem] == "val"]
    unseen = [index for index in there if not sum(each[index] for each in val)]
    if val and unseen:
        found.notes.append(
            f"no pixel of the {len(val)} val masks is {_named(classes, unseen)}: there its IoU is "
            "not yet measurable"
        )


def _meant_as_class(ignored: bool) -> str:
    if not ignored:
        return ""
    return f" {IGNORE} means that nobody knows; where it was meant as a class, write its index"


def _num_classes(each: Counts) -> int:
    return int(np.count_nonzero(each[:IGNORE]))


def _named(classes: Sequence[str], indices: Iterable[int]) -> str:
    return _some([f"{classes[index]} ({index})" for index in sorted(indices)], " or ")


def _some(names: Sequence[str], between: str = ", ") -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return between.join(names[:SHOWN]) + more
