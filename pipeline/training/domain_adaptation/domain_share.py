"""Domain-balanced sampling: a fixed share of the draws is of the current domain."""

from __future__ import annotations

from collections.abc import Callable, Sequence

PARTS = 1000  # shares are kept to a thousandth, so that counting turns is exact


def interleaved(turns: range, share: float) -> list[tuple[bool, int]]:
    """Per draw: whether it is of the target domain, and its number among the draws of that kind.

    Of the first t turns floor(share * t) are the target's, whatever part of them is asked for.
    """
    parts = round(share * PARTS)
    counts = ((turn, turn * parts // PARTS, (turn + 1) * parts // PARTS) for turn in turns)
    return [
        (after > so_far, so_far if after > so_far else t - so_far) for t, so_far, after in counts
    ]


def places_of(
    turns: range,
    share: float,
    target: Sequence[int],
    draw: Callable[[int, Sequence[int]], Sequence[int]],
    others: Sequence[int],
) -> list[int]:
    """Index into the samples for each draw, a `share` of them out of `target`.

    `draw(n, numbers)` says which of n samples come at those turns of their own stream.
    """
    found = [0] * len(turns)
    drawn = list(enumerate(interleaved(turns, share)))
    for group, own in ((target, True), (others, False)):
        at = [place for place, (is_target, _) in drawn if is_target is own]
        numbers = [number for _, (is_target, number) in drawn if is_target is own]
        if at:
            for place, chosen in zip(at, draw(len(group), numbers), strict=True):
                found[place] = group[chosen]
    return found


def target_share_of_labels(num_target: int, num_source: int, source_weight: float) -> float | None:
    """Share of the labelled draws that are of the target; None = all images are drawn alike.

    A source image comes `source_weight` times as often as a target image:
    n_t / (n_t + w n_s). Without labels of the target the source teaches in full.
    """
    if source_weight == 1 or not num_target or not num_source:
        return None
    return num_target / (num_target + source_weight * num_source)
