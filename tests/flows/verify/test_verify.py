"""`ssl-loop verify`: a campaign is clean, and each invariant that is broken by hand is named."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from flows import cli
from flows.steps.collect import collect
from flows.tick import tick
from flows.verify import INVARIANTS, QUICK, Verification, judge, verify
from flows.verify.evidence import Evidence
from flows.workspace.position import Position
from flows.workspace.workspace import Workspace
from pipeline import layout
from tests.flows.conftest import truth
from tests.flows.verify.answers_by_hand import stray_in_inbox
from tests.flows.verify.by_hand import BREAKS
from tests.flows.verify.campaign_copy import Place
from tests.flows.verify.files_by_hand import (
    image_changed,
    image_lost,
    metrics_edited,
    pixel_changed,
    stray_mask,
    weights_changed,
)


@pytest.fixture
def place(shifted: Path) -> Place:
    return Place(shifted)


def judged(place: Place, *names: str) -> Verification:
    loop = place.loop()
    try:
        return judge(Evidence(loop), names)
    finally:
        loop.ledger.close()


def test_every_invariant_has_a_fault_that_breaks_it() -> None:
    assert list(BREAKS) == list(INVARIANTS)


def test_a_campaign_is_clean(place: Place) -> None:
    loop = place.loop()
    report = verify(loop)
    loop.ledger.close()
    assert report.in_words() == [f"{len(INVARIANTS)} invariants checked: all as it must be"]
    assert report.checked == tuple(INVARIANTS)


@pytest.mark.parametrize(
    ("name", "fault"),
    [(name, fault) for name, faults in BREAKS.items() for fault in faults],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_what_is_broken_by_hand_is_named(
    place: Place, name: str, fault: Callable[[Place], None]
) -> None:
    fault(place)
    report = judged(place, name)
    assert report.findings, f"{fault.__name__} is not noticed by {name}"
    for finding in report.findings:
        assert finding.invariant == name
        assert all([finding.where, finding.what, finding.remedy])


def test_answers_that_wait_for_their_merge_are_no_fault(place: Place) -> None:
    first, second, _ = place.people.open_items()
    place.people.answer(first, truth(9))
    place.people.skip(second)
    loop = place.loop()
    collect(loop, Position(domain="dusk", round_index=0, computed=True))
    report = verify(loop)
    loop.ledger.close()
    assert report.findings == ()


def withdrawn_and_merged(place: Place) -> str:
    """The sample whose only answer was taken back after the loop had collected it."""
    first, *others = place.people.open_items()
    answer = place.people.answer(first, truth(9))
    loop = place.loop()
    collect(loop, Position(domain="dusk", round_index=0, computed=True))
    place.people.delete_annotation(answer)
    for seed, item_id in enumerate(others):
        place.people.answer(item_id, truth(seed))
    tick(loop)
    place.people.skip(first)
    tick(loop)
    loop.ledger.close()
    return first.rsplit("/", 1)[0]


def test_a_withdrawn_answer_is_no_fault_and_its_mask_in_the_data_is_one(place: Place) -> None:
    sample_id = withdrawn_and_merged(place)
    assert "dusk/r0-labels" in Workspace(place.root).tags_merged()
    loop = place.loop()
    assert verify(loop).in_words()[:-1] == []
    loop.ledger.close()
    place.edit_manifest(sample_id, mask=f"data/dusk/masks/{sample_id}.png", origin="annotated")
    place.commit()
    findings = judged(place, "merged").findings
    assert [(one.where, "withdrawn" in one.what) for one in findings] == [(sample_id, True)]


def test_params_edited_for_the_next_round_are_no_fault(place: Place) -> None:
    params = place.root / layout.PARAMS
    params.write_text(params.read_text().replace("query_size: 3", "query_size: 2"))
    assert judged(place, "working_copy", "tags").findings == ()


def between_rounds(place: Place) -> None:
    """As after a merge: the round's tag is not there yet, and a stage has begun."""
    for tag in ("dusk/r0", "dusk/final"):
        subprocess.run(["git", "tag", "-d", tag], cwd=place.root, stdout=-3, stderr=-3)
    weights_changed(place)
    metrics_edited(place)


def test_what_the_stages_of_a_round_under_way_write_is_no_fault(place: Place) -> None:
    between_rounds(place)
    report = judged(place, "working_copy")
    assert (report.findings, report.unchecked) == ((), {})


@pytest.mark.parametrize("fault", [stray_mask, image_lost, image_changed, pixel_changed])
def test_data_that_no_stage_writes_are_judged_while_a_round_is_under_way(
    place: Place, fault: Callable[[Place], None]
) -> None:
    between_rounds(place)
    fault(place)
    assert judged(place, "working_copy").findings


def test_a_ledger_of_another_schema_or_a_damaged_file_is_a_finding_not_a_traceback(
    place: Place,
) -> None:
    path = place.root / layout.MANIFEST
    path.write_text("not,a,manifest\n")
    place.commit()
    report = judged(place, "manifest", "versions")
    assert [finding.invariant for finding in report.findings] == ["manifest"]
    assert "cannot be looked at" in report.findings[0].what


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("dvc.lock", b"stages: {embed: 3}\n", "dvc.lock at dusk/r0: stages.embed: "),
        ("dvc.lock", b"stages: [\n", "dvc.lock at dusk/r0:2: not valid YAML"),
        ("dvc.lock", b"\xff\n", "dvc.lock at dusk/r0:1: is not UTF-8 text"),
        ("params.yaml", b"- none\n", "params.yaml at dusk/r0: expected a mapping"),
    ],
)
def test_a_damaged_file_at_a_tag_is_named_with_its_place(
    place: Place, file: str, content: bytes, said: str
) -> None:
    kept = (place.root / file).read_bytes()
    (place.root / file).write_bytes(content)
    place.commit("dusk/r0")
    (place.root / file).write_bytes(kept)
    [finding] = judged(place, "tags").findings
    assert said in finding.what
    assert "somebody committed it so" in finding.what


def test_a_tick_says_what_it_leaves_unsound(place: Place) -> None:
    stray_in_inbox(place)
    loop, said = place.loop(), []
    loop.log = said.append
    assert tick(loop).startswith("waiting 0/3")
    loop.ledger.close()
    assert [line for line in said if "NOT AS IT MUST BE, inbox: .ssl-loop/inbox/holiday" in line]


def test_the_command_says_what_to_do_and_exits_1(place: Place) -> None:
    runner = CliRunner()
    clean = runner.invoke(cli.main, ["verify", "--quick", "-w", str(place.root)])
    assert (clean.exit_code, clean.output) == (
        0,
        f"{len(QUICK)} invariants checked: all as it must be\n",
    )
    stray_in_inbox(place)
    told = runner.invoke(cli.main, ["verify", "--quick", "-w", str(place.root)])
    assert told.exit_code == 1
    assert "inbox: .ssl-loop/inbox/holiday.png: belongs to no answer" in told.output
    assert "  -> " in told.output
    said = runner.invoke(cli.main, ["verify", "--quick", "--json", "-w", str(place.root)])
    assert said.exit_code == 1
    found = json.loads(said.output)
    assert [one["invariant"] for one in found["findings"]] == ["inbox"]
    assert found["checked"] == list(QUICK)
