"""Planted matrices: what follows from them is computed here by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.campaign.forgetting import (
    Forgetting,
    TeacherRow,
    describe,
    judge,
    parse_forgetting,
    row_of,
)

CLASSES = ("road", "car")


def planted(domains: str, *rows: list[Any], classes: dict[str, list[list[Any]]] | None = None):
    """A matrix as rows; `-` in a row means that the domain had not arrived."""
    names, found = domains.split(), []
    for i, values in enumerate(rows):
        there = {d: v for d, v in zip(names, values, strict=True) if v != "-"}
        iou = {
            d: {name: cells[i][names.index(d)] for name, cells in (classes or {}).items()}
            for d in there
        }
        images = {d: 0 if v is None else 10 for d, v in there.items()}
        found.append(
            TeacherRow(
                domain=names[i], tag=f"{names[i]}/r2", miou=there, num_images=images, iou=iou
            )
        )
    return Forgetting(rows=tuple(found))


THREE = planted(
    "day dusk night",
    [0.60, "-", "-"],
    [0.63, 0.50, "-"],
    [0.58, 0.47, 0.40],
    classes={
        "road": [[0.9, None, None], [0.8, 0.7, None], [0.85, 0.75, 0.6]],
        "car": [[0.3, None, None], [0.46, 0.3, None], [0.31, None, 0.2]],
    },
)


def test_backward_transfer_and_forgetting_of_a_planted_matrix() -> None:
    assert THREE.matrix() == [[0.60, None, None], [0.63, 0.50, None], [0.58, 0.47, 0.40]]
    # Against the diagonal, then against the best of the rows before.
    assert THREE.backward_transfer() == pytest.approx(((0.58 - 0.60) + (0.47 - 0.50)) / 2)
    assert THREE.forgetting("day") == pytest.approx(0.63 - 0.58)
    assert THREE.forgetting("dusk") == pytest.approx(0.50 - 0.47)
    assert THREE.older == ["day", "dusk"]
    assert [kept.best_tag for kept in THREE.kept()] == ["dusk/r2", "dusk/r2"]


def test_classes_have_their_own_best_row_and_none_stays_none() -> None:
    assert THREE.forgetting("day", "road") == pytest.approx(0.9 - 0.85)
    assert THREE.forgetting("day", "car") == pytest.approx(0.46 - 0.31)
    assert THREE.forgetting("dusk", "car") is None  # the class is absent now: not a loss of 0.3
    assert THREE.forgetting("dusk", "road") == pytest.approx(-0.05)  # better than ever
    assert THREE.backward_transfer("road") == pytest.approx(((0.85 - 0.9) + (0.75 - 0.7)) / 2)
    assert THREE.backward_transfer("car") == pytest.approx(0.31 - 0.3)  # of day alone


def test_one_domain_has_nothing_to_forget() -> None:
    alone = planted("day", [0.6])
    assert (alone.backward_transfer(), alone.kept(), alone.older) == (None, [], [])
    assert describe(judge(alone, 0.0)) == []
    assert judge(alone, 0.0).to_dict()["forgetting"] == {}


@pytest.mark.parametrize(
    ("before", "now"), [(None, 0.6), (0.6, None), (None, None)], ids=["then", "now", "both"]
)
def test_without_val_images_it_is_not_measurable_rather_than_0(before: Any, now: Any) -> None:
    found = planted("day dusk", [before, "-"], [now, 0.5])
    assert found.forgetting("day") is None
    assert found.backward_transfer() is None
    judged = judge(found, 0.0)
    assert judged.beyond == ()
    assert [said for said in describe(judged) if "not yet measurable" in said] == describe(judged)
    plain = judged.to_dict()
    assert (plain["forgetting"], plain["backward_transfer"]) == ({"day": None}, None)


def test_a_domain_that_became_measurable_later_is_held_against_its_first_measure() -> None:
    found = planted("day dusk night", [None, "-", "-"], [0.5, 0.5, "-"], [0.4, 0.5, 0.5])
    assert found.forgetting("day") == pytest.approx(0.1)
    assert found.backward_transfer() == pytest.approx(0.0)  # dusk alone: day has no diagonal


@pytest.mark.parametrize(("now", "beyond"), [(0.59, ()), (0.589999, ("day",)), (0.7, ())])
def test_a_drop_of_exactly_the_tolerance_is_tolerated(now: float, beyond: tuple[str, ...]) -> None:
    # 0.60 - 0.59 is 0.010000000000000009 in floating point.
    found = planted("day dusk", [0.60, "-"], [now, 0.5])
    assert judge(found, 0.01).beyond == beyond
    assert judge(found, 0.01, refuse=True).refused == bool(beyond)


def test_what_was_accepted_is_the_new_reference() -> None:
    lost = planted("day dusk", [0.60, "-"], [0.56, 0.5])
    same, further = (planted("day dusk", [0.60, "-"], [now, 0.5]) for now in (0.555, 0.54))
    assert judge(same, 0.01).beyond == ("day",)
    assert judge(same, 0.01, accepted=[lost]).beyond == ()
    assert judge(further, 0.01, accepted=[lost], refuse=True).refused
    assert "as was accepted" in describe(judge(same, 0.01, accepted=[lost]))[0]


def test_it_says_what_was_lost_on_how_many_images_and_what_can_be_done() -> None:
    said = describe(judge(THREE, 0.04, refuse=True))
    assert said[0] == (
        "day fell by 0.050: 0.630 mIoU after dusk/r2, 0.580 now (10 val images), more than "
        "loop.forgetting_tolerance 0.04."
    )
    assert (
        said[1] == "dusk is kept within 0.04: 0.500 mIoU after dusk/r2, 0.470 now (10 val images)."
    )
    assert said[2].startswith("Backward transfer -0.025")
    assert "`ssl-loop round accept night/r2`" in said[3]
    assert len(describe(judge(THREE, 0.04))) == 3  # flagged only: nothing is refused


def test_a_val_split_that_grew_is_said() -> None:
    rows = [
        TeacherRow(domain=d, tag=f"{d}/r0", miou={"day": m}, num_images={"day": n}, iou={"day": {}})
        for d, m, n in (("day", 0.6, 1), ("dusk", 0.5, 3))
    ]
    assert "(3 val images, 1 then)" in describe(judge(Forgetting(rows=tuple(rows)), 0.01))[0]


def test_json_and_back() -> None:
    judged = judge(THREE, 0.01)
    plain = json.loads(json.dumps(judged.to_dict()))
    assert parse_forgetting(json.dumps(plain)) == THREE
    assert plain["beyond"] == ["day", "dusk"]
    assert plain["forgetting_per_class"]["day"]["car"] == pytest.approx(0.15)
    assert plain["matrix"][0] == [0.6, None, None]


def test_a_row_is_the_teachers_val_of_an_evaluation() -> None:
    def result(miou: float | None) -> dict[str, Any]:
        return {"val": {"miou": miou, "num_images": 4, "iou": {"road": miou}}}

    evaluation = {
        "teacher": {"day": result(0.6), "dusk": result(None)},
        "baseline": {"day": result(0.1), "dusk": result(0.1)},
    }
    row = row_of("day", "day/r1", evaluation)
    assert row.miou == {"day": 0.6, "dusk": None}
    assert (row.num_images["day"], row.iou["day"]) == (4, {"road": 0.6})
