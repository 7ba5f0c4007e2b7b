"""`ssl-loop audit` shows who did what, and names the event that somebody changed afterwards."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flows import cli
from pipeline import layout


def audit(root: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli.main, ["audit", *arguments, "--workspace", str(root)])


def sql(root: Path, statement: str) -> None:
    with closing(sqlite3.connect(root / layout.LEDGER)) as connection:
        connection.execute(statement)
        connection.commit()


def test_a_campaigns_events_are_shown_in_their_order_and_whole(shifted: Path) -> None:
    told = json.loads(audit(shifted, "--json").output)
    assert told["broken"] is None
    assert told["count"] == len(told["events"]) > 3
    assert told["events"][-1]["sha256"] == told["head"]
    said = audit(shifted, "--last", "2")
    assert said.exit_code == 0
    *events, verdict = said.output.splitlines()
    assert len(events) == 2
    assert events[-1].split()[1] == told["events"][-1]["kind"]
    assert verdict == f"{told['count']} events, chain whole, head {told['head']}"


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("UPDATE event SET who = 'nobody' WHERE kind = 'sealed'", "is not as it was recorded"),
        ("DELETE FROM event WHERE kind = 'sealed'", "does not follow the event before it"),
        ("UPDATE event SET at = '2020-01-01 00:00:00'", "is not as it was recorded"),
        ("UPDATE event SET key = 'sealed' || id", "is not as it was recorded"),
    ],
)
def test_what_was_changed_afterwards_is_named(shifted: Path, statement: str, what: str) -> None:
    sql(shifted, statement)
    said = audit(shifted)
    assert said.exit_code == 1
    assert "BROKEN: event " in said.output
    assert what in said.output
    assert "-> a backup from before" in said.output
    assert json.loads(audit(shifted, "--json").output)["broken"]["what"].startswith(what)


def test_an_end_that_was_cut_off_is_told_by_a_head_that_was_noted(shifted: Path) -> None:
    head = json.loads(audit(shifted, "--json").output)["head"]
    assert audit(shifted, "--contains", head).exit_code == 0
    sql(shifted, "DELETE FROM event WHERE id = (SELECT MAX(id) FROM event)")
    assert audit(shifted).exit_code == 0  # by itself a shorter chain is a chain
    said = audit(shifted, "--contains", head)
    assert said.exit_code == 1
    assert f"NOT HERE: no event has the hash {head}" in said.output
    assert json.loads(audit(shifted, "--contains", head, "--json").output)["contains"] is False


def test_help_and_a_number_below_zero(shifted: Path) -> None:
    assert "hash of its content" in audit(shifted, "--help").output
    assert audit(shifted, "--last", "-1").exit_code == 2
    assert len(audit(shifted, "--last", "0").output.splitlines()) == 1
