"""What a comparison of two domains comes to, in plain words. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Verdict = Literal["none", "mild", "strong"]
LABELLED = "labelled"  # instead of a domain: all others that have labels

SURE = 0.05  # a p-value: runs dealt at random are seldom so far apart
APART = 1.0  # of the proxy A-distance: fewer than one image in four is taken for the other's
FALL = 0.05  # of mIoU: five points, more than seeds and rounds make
FAR = 2.0  # of the novelty: twice as far as images of the known domain lie from each other
POINTS = 100


def verdict(found: Mapping[str, Any]) -> Verdict:
    """none: chance explains the difference. strong: told apart, and the model is expected to fall.

    A model that falls where domains are not told apart well, or is not expected to fall where they
    are, makes it mild. Without an expected mIoU being told apart is enough for strong.
    """
    if found["p_value"] > SURE:
        return "none"
    apart = found["proxy_a_distance"]
    told_apart = apart is None or apart[0] >= APART
    fall = _fall(found)
    suffers = fall is None or fall >= FALL or (found["novelty"] or 0) >= FAR
    return "strong" if told_apart and suffers else "mild"


def sentences(found: Mapping[str, Any]) -> list[str]:
    """The verdict, what it rests on, and last what to do."""
    return [headline(found), *_reasons(found), *next_steps(found)]


def headline(found: Mapping[str, Any]) -> str:
    """The verdict in one sentence."""
    a, b = _known(found), found["b"]
    return {
        "none": f"No shift: nothing tells {b} from more images of {a}.",
        "mild": f"A mild shift: {b} does not look like {a}, but little harm is expected.",
        "strong": f"A strong shift: {b} is unlike {a}"
        + (", and the model will be worse there." if (_fall(found) or 0) > 0 else "."),
    }[found["verdict"]]


def next_steps(found: Mapping[str, Any]) -> list[str]:
    """What a user had better do now."""
    b = found["b"]
    if found["verdict"] == "none":
        return [
            "What to do: use the model as it is. Label a few random images now and then: they show "
            "what no comparison without labels can."
        ]
    if found["verdict"] == "mild":
        return [
            f"What to do: let the loop take {b} in; train with its images unlabelled before paying "
            "for labels, and keep the first query small."
        ]
    return [
        f"What to do: do not trust the model on {b} yet. Let the loop take {b} in, so that its "
        "images are learnt from without labels, and have the first query labelled; the images most "
        "unlike anything known are worth a look first."
    ]


def expected_in_words(found: Mapping[str, Any]) -> str:
    """The estimate, or why there is none."""
    expected = found["expected_miou"]
    if expected is None:
        return f"Nothing is said about the mIoU on {found['b']}: {found['expected_miou_reason']}."
    value, low, high = (POINTS * each for each in expected)
    text = (
        f"Expected on {found['b']} without any label: {value:.0f} points of mIoU, "
        f"{low:.0f} to {high:.0f} with 95 % confidence; on validation images of {_known(found)} "
        f"it is {POINTS * found['source_miou'][0]:.0f}."
    )
    if (found["novelty"] or 0) >= FAR:
        text += (
            f" {found['b']} lies so far from all that is known that the model's own confidence "
            "says nothing: what chance would give is expected, and more is possible."
        )
    return text


def truth_in_words(found: Mapping[str, Any]) -> list[str]:
    """What was measured since, if anything; each beside the estimate."""
    said = []
    for name, truth in (found.get("truth") or {}).items():
        if truth is None:
            continue
        inside = ""
        if found["expected_miou"] is not None:
            _, low, high = found["expected_miou"]
            inside = (
                ", inside the interval" if low <= truth <= high else ", outside of the interval"
            )
        said.append(f"Measured since, on {name}: {POINTS * truth:.0f} points{inside}.")
    return said


def _reasons(found: Mapping[str, Any]) -> list[str]:
    said = []
    apart = found["proxy_a_distance"]
    counted = (
        f"{found['num_images']['a']} images of {_known(found)}, {found['num_images']['b']} of "
    )
    length = found["run_length"]
    in_runs = f", in runs of {length}" if length > 1 else ""
    if apart is None:
        said.append(f"{counted}{found['b']}{in_runs}: too few to learn to tell them apart.")
    else:
        right = POINTS * (1 + apart[0] / 2) / 2
        said.append(
            f"{counted}{found['b']}{in_runs}: a classifier that looks at an image's features names "
            f"the domain in {right:.0f} % of the cases, where 50 % would be chance (proxy "
            f"A-distance {apart[0]:.2f} of 2, {apart[1]:.2f} to {apart[2]:.2f})."
        )
    chance = POINTS * found["p_value"]
    said.append(
        f"Dealt at random, groups come out this different in {chance:.2g} % of the cases"
        f"{'' if found['p_value'] <= SURE else ': chance explains the difference'}."
    )
    return [*said, expected_in_words(found), *truth_in_words(found)]


def _known(found: Mapping[str, Any]) -> str:
    a: str = found["a"]
    return "what is labelled" if a == LABELLED else a


def _fall(found: Mapping[str, Any]) -> float | None:
    """Points of mIoU expected to be lost, in [0, 1]; None without an estimate."""
    if found["expected_miou"] is None:
        return None
    fall: float = found["source_miou"][0] - found["expected_miou"][0]
    return fall
