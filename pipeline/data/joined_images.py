"""Images that join a domain which has some: those that it has are passed over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.data.formats.images import load_image
from pipeline.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Joined:
    """The domain that images join, instead of being one of their own."""

    number: int
    """Of the folder in which they wait; 2 for the first that join it."""
    images: Mapping[str, Path]
    """`stem -> file` of every image that it has."""


class ArrivedFiles(NamedTuple):
    """An image that arrives, with its mask where it has one."""

    image: Path
    mask: Path | None


class AlreadyThere(NamedTuple):
    """What a domain has of the images that arrive."""

    stems: set[str]
    """By name and pixels the same."""
    bad: list[str]
    """A line for each file that contradicts what it has."""


def known_already(
    name: str, arrived: Mapping[str, ArrivedFiles], joined: Joined, max_megapixels: float
) -> AlreadyThere:
    """What domain `name` has of `arrived`, by stem; DataError where it has all of it."""
    found = AlreadyThere(set(), [])
    for stem in sorted(arrived.keys() & joined.images):
        image, mask = arrived[stem]
        if mask:
            found.bad.append(
                f"{mask}: {name}/{stem} is in the domain already; masks of its images come from "
                "people, or by hand and `ssl-loop commit accept`"
            )
            continue
        try:
            here, there = (
                load_image(path, max_megapixels) for path in (image, joined.images[stem])
            )
        except DataError as error:
            found.bad.append(str(error))
            continue
        if np.array_equal(here, there):
            found.stems.add(stem)
        else:
            found.bad.append(f"{image}: domain {name} has another image of this name; rename it")
    if len(found.stems) == len(arrived):
        raise DataError(f"all {len(arrived)} images are in domain {name} already; nothing is new")
    return found
