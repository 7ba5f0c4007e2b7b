"""Faults that a hand makes in the ledger of a campaign."""

from __future__ import annotations

from tests.flows.verify.campaign_copy import Place


def task_lost(place: Place) -> None:
    place.sql("DELETE FROM ls_task WHERE id = 1")


def item_lost(place: Place) -> None:
    place.sql("DELETE FROM query_item WHERE item_id LIKE 'dusk/%' AND rank = 2")


def item_that_nobody_asked(place: Place) -> None:
    place.sql("UPDATE query_item SET item_id = 'day/img002/r9' WHERE rank = 1 AND domain = 'day'")


def superseded_by_hand(place: Place) -> None:
    place.sql("UPDATE annotation SET supersedes = 1 WHERE id = 3")


def superseded_by_an_older_one(place: Place) -> None:
    place.sql("UPDATE annotation SET item_id = (SELECT item_id FROM annotation WHERE id = 1)")
    place.sql("UPDATE annotation SET supersedes = 3 WHERE id = 2")


def row_lost(place: Place) -> None:
    place.sql("DELETE FROM annotation WHERE id = 2")


def image_of_another_ledger(place: Place) -> None:
    place.sql("UPDATE sample SET image_sha256 = 'other' WHERE sample_id = 'day/img003'")


def other_weights_in_the_ledger(place: Place) -> None:
    place.sql("UPDATE checkpoint SET weights_sha256 = 'other' WHERE kind = 'teacher'")


def other_params_in_the_ledger(place: Place) -> None:
    place.sql("UPDATE checkpoint SET params_sha256 = 'other' WHERE kind = 'baseline'")


def checkpoint_lost(place: Place) -> None:
    place.sql("DELETE FROM checkpoint WHERE domain = 'day' AND round_index = 1")


def learnt_from_another_mask(place: Place) -> None:
    place.sql(
        'UPDATE checkpoint SET trained_on = \'{"day/img000": "other"}\' '
        "WHERE domain = 'day' AND round_index = 1"
    )


def learnt_from_its_judge(place: Place) -> None:
    place.sql("UPDATE checkpoint SET trained_on = json_set(trained_on, '$.\"day/img008\"', 'x')")


def reason_edited(place: Place) -> None:
    place.sql("UPDATE query_item SET reason = 'because' WHERE rank = 1")


def event_lost(place: Place) -> None:
    place.sql("DELETE FROM event WHERE kind = 'sealed'")


def event_changed(place: Place) -> None:
    place.sql("UPDATE event SET who = 'nobody' WHERE kind = 'sealed'")


def event_put_in(place: Place) -> None:
    place.sql(
        "INSERT INTO event (key, at, who, kind, subject, detail, previous_sha256, sha256) "
        "VALUES ('closed:day/r0', '2026-01-01', 'me', 'closed', '', '{}', 'x', 'y')"
    )


def measurement_made_up(place: Place) -> None:
    place.sql("UPDATE measurement SET value = 0.99")


def answer_of_the_ledger_lost(place: Place) -> None:
    place.sql("DELETE FROM annotation WHERE sequence = (SELECT MAX(sequence) FROM annotation)")
