"""What figures come to, in words."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.shift.verdict import sentences, verdict


def found(**changes: Any) -> dict[str, Any]:
    values = {
        "a": "day",
        "b": "dusk",
        "p_value": 0.001,
        "proxy_a_distance": [1.8, 1.2, 2.0],
        "novelty": 1.3,
        "expected_miou": [0.4, 0.3, 0.5],
        "expected_miou_reason": None,
        "source_miou": [0.5, 0.45, 0.55],
        "num_images": {"a": 300, "b": 60},
        "run_length": 20,
        "truth": None,
        **changes,
    }
    return values | {"verdict": verdict(values)}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "strong"),
        ({"p_value": 0.2}, "none"),
        ({"p_value": 0.2, "expected_miou": [0.1, 0.0, 0.2]}, "none"),
        ({"proxy_a_distance": [0.6, 0.2, 0.9]}, "mild"),
        ({"expected_miou": [0.49, 0.4, 0.5]}, "mild"),
        ({"expected_miou": [0.49, 0.4, 0.5], "novelty": 2.5}, "strong"),
        ({"expected_miou": None, "source_miou": None}, "strong"),
        ({"expected_miou": None, "source_miou": None, "proxy_a_distance": [0.2, 0.1, 0.3]}, "mild"),
        ({"proxy_a_distance": None, "novelty": None}, "strong"),
    ],
)
def test_the_verdict(changes: dict[str, Any], expected: str) -> None:
    assert found(**changes)["verdict"] == expected


def test_the_words_say_verdict_figures_and_what_to_do() -> None:
    said = " ".join(sentences(found()))
    assert said.startswith("A strong shift: dusk is unlike day, and the model will be worse there.")
    assert "in 95 % of the cases" in said
    assert "40 points of mIoU, 30 to 50 with 95 % confidence; on validation images of day" in said
    assert "What to do:" in said
    assert "says nothing" not in said
    assert "chance explains the difference" in " ".join(sentences(found(p_value=0.4)))


def test_what_is_not_known_is_said_to_be_so() -> None:
    blind = found(
        expected_miou=None,
        expected_miou_reason="no model is trained yet",
        novelty=None,
        proxy_a_distance=None,
    )
    said = " ".join(sentences(blind))
    assert "Nothing is said about the mIoU on dusk: no model is trained yet." in said
    assert "too few to learn to tell them apart" in said
    assert "confidence says nothing" in " ".join(sentences(found(novelty=4.0)))


def test_the_truth_is_set_beside() -> None:
    said = sentences(found(truth={"val images": 0.45, "random images": 0.6, "other": None}))
    assert "Measured since, on val images: 45 points, inside the interval." in said
    assert "Measured since, on random images: 60 points, outside of the interval." in said
    assert not any("other" in each for each in said)


def test_what_is_labelled_is_said_in_words() -> None:
    said = " ".join(sentences(found(a="labelled")))
    assert "is unlike what is labelled" in said
    assert " images of what is labelled, " in said
    assert "on validation images of what is labelled it is" in said
