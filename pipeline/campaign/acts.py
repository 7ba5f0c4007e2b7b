"""What people did to give labels, act by act, and what that takes: the one place with its seconds.

For replays, where nobody's time is measured, so that whole images, regions and corrections can be
set beside each other by minutes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Acts:
    """Acts of people, counted."""

    looks: float = 0.0
    """Images opened and looked through, to correct them or to find the frames in them."""
    clicks: float = 0.0
    strokes: float = 0.0
    regions: float = 0.0
    """Frames painted."""
    whole_minutes: float = 0.0
    """Minutes for images painted as wholes, by `annotation_time`."""

    def __add__(self, other: Acts) -> Acts:
        """Both."""
        mine, others = asdict(self), asdict(other)
        return Acts(**{name: mine[name] + others[name] for name in mine})


@dataclass(frozen=True, kw_only=True)
class Seconds:
    """What an act takes: guesses, so results are given for half and twice of them too."""

    look: float = 8.0
    """As the simulated annotator takes for an image that needs nothing."""
    click: float = 3.0
    """With the key of its class."""
    stroke: float = 4.0
    region: float = 6.0
    """A frame of one or two classes, found, understood and painted."""

    def scaled(self, factor: float, *acts: str) -> Seconds:
        """With these acts `factor` times as slow."""
        return replace(self, **{name: factor * getattr(self, name) for name in acts})


SECONDS = Seconds()
MOST_CORRECTIONS = 15  # in an image, as people are assumed to make them


def minutes_of(acts: Acts, seconds: Seconds = SECONDS) -> float:
    """Minutes that these acts take one person."""
    taken = acts.looks * seconds.look + acts.clicks * seconds.click
    taken += acts.strokes * seconds.stroke + acts.regions * seconds.region
    return acts.whole_minutes + taken / 60
