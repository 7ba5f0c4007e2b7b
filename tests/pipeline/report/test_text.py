from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pipeline.campaign.idle_time import IdleTime
from pipeline.report import text
from pipeline.report.data import Report, RoundFacts

Make = Callable[..., Report]
Row = Callable[..., RoundFacts]
Evaluation = Callable[..., dict[str, Any]]


def test_the_headline_tells_labels_and_both_models(make_report: Make) -> None:
    assert text.headline(make_report()) == (
        "Round 2 of day: 28 labels, teacher 0.60 mIoU (+0.05), baseline 0.58"
    )


def test_the_headline_without_a_round_before_has_no_change(make_report: Make) -> None:
    report = make_report(previous_evaluation=None)
    assert text.headline(report) == ("Round 2 of day: 28 labels, teacher 0.60 mIoU, baseline 0.58")


def test_the_headline_never_says_zero_for_what_is_unknown(
    make_report: Make, round_row: Row
) -> None:
    row = round_row("day", 2, labelled=1, miou_baseline=None, miou_teacher=None)
    assert text.headline(make_report(rounds=(row,))) == (
        "Round 2 of day: 1 label, mIoU not yet measurable"
    )
    row = round_row("day", 2, miou_baseline=None)
    assert text.headline(make_report(rounds=(row,))).endswith("baseline not yet measurable")


def test_the_headline_before_any_label(make_report: Make, round_row: Row) -> None:
    row = round_row("day", 0, labelled=0, miou_baseline=None, miou_teacher=None)
    report = make_report(rounds=(row,), round_index=0)
    assert text.headline(report) == (
        "Round 0 of day: no labels yet; people are asked for the first 1"
    )
    assert text.headline(make_report(rounds=())) == "Round 2 of day: nothing computed yet"


@pytest.mark.parametrize(
    ("now", "before", "expected"),
    [
        (0.61, 0.57, "+0.04"),
        (0.57, 0.61, "\N{MINUS SIGN}0.04"),
        (0.5701, 0.57, "\N{PLUS-MINUS SIGN}0.00"),
        (None, 0.57, ""),
        (0.57, None, ""),
    ],
)
def test_change(now: float | None, before: float | None, expected: str) -> None:
    assert text.change(now, before) == expected


@pytest.mark.parametrize(
    ("number", "expected"),
    [(None, "\N{EN DASH}"), (0.0, "0.0 min"), (4.21, "4.2 min"), (85.4, "85 min"), (210, "3.5 h")],
)
def test_minutes(number: float | None, expected: str) -> None:
    assert text.minutes(number) == expected


def test_values_shares_and_counts() -> None:
    assert text.value(None) == "not yet measurable"
    assert text.value(0.0) == "0.00"
    assert text.share(None) == "\N{EN DASH}"
    assert text.share(0.634) == "63 %"
    assert [text.count(number, "label") for number in (0, 1, 2)] == [
        "0 labels",
        "1 label",
        "2 labels",
    ]


def test_findings_of_an_ordinary_round(make_report: Make) -> None:
    assert text.findings(make_report()) == [
        "The teacher, which also learns from unlabelled images, is 0.02 above the baseline.",
        "Weakest class: road (0.60). Largest gain: road (+0.05). "
        "Not yet measurable, since no val image shows it: pole.",
        "People gave 24 annotations so far, 18 of them corrections, in 60 min (2.5 min each).",
        "This round asks for 1 image.",
    ]


def test_findings_say_how_long_nobody_had_anything_to_annotate(make_report: Make) -> None:
    report = replace(make_report(), idle=IdleTime(idle_minutes=12, minutes=240))
    said = "For 12 min of 4.0 h (5 %) of this campaign nothing was open to annotate."
    assert text.findings(report)[2].endswith(f"(2.5 min each). {said}")


def test_findings_say_what_a_teacher_learnt_from_and_which_model_was_kept(
    make_report: Make,
) -> None:
    contest = {
        "kept": "probe",
        "name": "deeplabv3plus",
        "miou": 0.472,
        "miou_probe": 0.51,
        "gain_interval": [0.01, 0.066],
        "num_images": 60,
    }
    training = {"teacher": {"method": "supervised", "contest": contest}}
    assert text.findings(make_report(training=training))[:2] == [
        "The teacher, which learns from labels alone here, is 0.02 above the baseline.",
        "Two models learnt from these labels: on 60 val images deeplabv3plus has 0.47 mIoU, a "
        "probe of the frozen encoder 0.51 (it gains +0.01 to +0.07). Kept is probe.",
    ]
    training["teacher"]["method"] = "mean_teacher"
    assert "labels alone here" in text.findings(make_report(training=training))[0], (
        "a probe is kept"
    )
    training["teacher"]["contest"] = {**contest, "kept": "deeplabv3plus"}
    assert "also learns from unlabelled" in text.findings(make_report(training=training))[0]
    training["teacher"]["contest"] = {**contest, "gain_interval": None, "num_images": 1}
    assert (
        "on 1 val image deeplabv3plus has 0.47 mIoU, a probe of the frozen encoder 0.51. Kept"
        in (text.findings(make_report(training=training))[1])
    )


def test_findings_begin_with_weights_that_are_amiss(make_report: Make) -> None:
    report = make_report(weights=("embed.encoder_weights: auto: encoder e starts from random",))
    assert text.findings(report)[0] == (
        "Warning: embed.encoder_weights: auto: encoder e starts from random."
    )
    assert text.findings(report)[1:] == text.findings(make_report())


def test_findings_say_what_is_bad_too(make_report: Make, evaluation: Evaluation) -> None:
    report = make_report(
        rounds=make_report().rounds[:2],
        round_index=1,
        evaluation=evaluation(day=(0.6, 0.5), dusk=(0.4, 0.41)),
        previous_evaluation=evaluation(day=(0.6, 0.55), dusk=(0.4, 0.45)),
        query=(),
        why_finished="budget of 9 spent",
    )
    said = " ".join(text.findings(report))
    assert "Largest loss: road (\N{MINUS SIGN}0.05)" in said
    assert "Largest gain" not in said
    assert "Nothing is asked for: budget of 9 spent." in said


def test_a_teacher_below_the_baseline_is_called_so(make_report: Make, round_row: Row) -> None:
    below = make_report(rounds=(round_row("day", 2, miou_teacher=0.5, miou_baseline=0.55),))
    assert "is 0.05 below the baseline" in text.findings(below)[0]
    level = make_report(rounds=(round_row("day", 2, miou_teacher=0.551, miou_baseline=0.55),))
    assert "is level with the baseline" in text.findings(level)[0]


def test_findings_tell_of_the_guard_and_of_a_transductive_teacher(
    make_report: Make, round_row: Row
) -> None:
    events = [{"step": 90, "weight": 0.5}, {"step": 180, "weight": 0.25}]
    row = round_row("day", 2, transductive=True)
    report = make_report(rounds=(row,), training={"teacher": {"guard": events}})
    assert text.findings(report)[1:3] == [
        "The teacher is transductive: the val and test images themselves, without masks, were "
        "among its unlabelled images, so its mIoU says nothing about images it has never seen.",
        "The guard against collapse acted after step 90 and 180: the consistency weight ended at "
        "0.25. Look at the training curves before trusting the pseudo-labels.",
    ]


def test_findings_without_a_model_or_a_validation_image(
    make_report: Make, round_row: Row, evaluation: Evaluation
) -> None:
    nothing = {"miou_baseline": None, "miou_teacher": None, "accepted": 0, "minutes": None}
    row = round_row("day", 2, **nothing)
    report = make_report(rounds=(row,), evaluation=evaluation(day=(None, None)))
    assert "day has no validation image yet" in text.findings(report)[0]
    row = round_row("day", 2, labelled=0, **nothing)
    report = make_report(rounds=(row,), evaluation=None)
    assert text.findings(report) == [
        "No model is trained yet: the first labels decide what it can learn.",
        "This round asks for 1 image.",
    ]


def test_a_class_that_no_val_image_shows_is_no_weakest_class(
    make_report: Make, evaluation: Evaluation
) -> None:
    judged = evaluation(day=(0.6, 0.5))
    ious = judged["teacher"]["day"]["val"]["iou"]
    said = " ".join(text.findings(make_report(evaluation=judged)))
    assert "Not yet measurable, since no val image shows it: pole." in said
    assert "Weakest class: pole" not in said
    ious |= {"sky": None}
    said = " ".join(text.findings(make_report(evaluation=judged)))
    assert "Weakest" not in said
    assert "shows it: sky, pole." in said
