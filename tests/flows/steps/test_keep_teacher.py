"""The last round's teacher lies in previous/teacher between rounds, and nowhere inside one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from flows.loop import Loop
from flows.steps import keep_teacher
from flows.tick import tick
from flows.workspace.workspace import Workspace
from pipeline import layout
from tests.flows.conftest import stage_domain, truth
from tests.support.fake_annotator import FakeAnnotator
from tests.support.processes import Killed

Open = Callable[[Path], Loop]
POINTER = Path(f"{layout.PREVIOUS_TEACHER}.dvc")
TEACHER = layout.TEACHER.as_posix()


def handed_over(workspace: Workspace, revision: str) -> str:
    """DVC's hash of previous/teacher at a tag."""
    pointer = YAML(typ="safe").load(workspace.show(revision, POINTER).decode())
    return str(pointer["outs"][0]["md5"])


def answer_all(people: FakeAnnotator) -> None:
    for seed, item_id in enumerate(people.open_items()):
        people.answer(item_id, truth(seed))


@pytest.fixture
def warm(toy: Path) -> Path:
    workspace = Workspace(toy)
    workspace.write_params({"adapt": {"warm_start": True}, "loop": {"budget": 3}})
    workspace.commit([layout.PARAMS], "Warm starts")
    return toy


def test_each_round_starts_from_the_teacher_of_the_one_before(
    warm: Path, open_toy: Open, people: FakeAnnotator
) -> None:
    stage_domain(warm, "day", labelled=2)
    loop = open_toy(warm)
    workspace = loop.workspace
    tick(loop)
    nobody = handed_over(workspace, "day/ingest")
    assert handed_over(workspace, "day/r0") == nobody
    answer_all(people)
    tick(loop)
    first = workspace.locked_outs("day/r0")[TEACHER]
    assert handed_over(workspace, "day/r0-labels") == handed_over(workspace, "day/r1") == first
    stage_domain(warm, "dusk")
    tick(loop)
    second = workspace.locked_outs("day/r1")[TEACHER]
    assert handed_over(workspace, "dusk/ingest") == second
    assert len({nobody, first, second}) == 3
    assert workspace.git.run("status", "--porcelain") == b""
    assert workspace.dvc_status() == {}


def test_without_warm_starts_nothing_is_copied(
    toy: Path, open_toy: Open, people: FakeAnnotator
) -> None:
    stage_domain(toy, "day", labelled=2)
    loop = open_toy(toy)
    loop.workspace.write_params({"adapt": {"warm_start": False}})
    tick(loop)
    before = handed_over(loop.workspace, "day/r0")
    answer_all(people)
    tick(loop)
    assert handed_over(loop.workspace, "day/r1") == before
    config = json.loads((toy / layout.PREVIOUS_TEACHER / "config.json").read_text())
    assert config["trained"] is False


@pytest.mark.parametrize("point", ["during the copy", "after the copy", "before the commit"])
def test_killed_between_rounds_the_next_tick_hands_the_same_teacher_over(
    warm: Path, open_toy: Open, people: FakeAnnotator, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    stage_domain(warm, "day", labelled=2)
    loop = open_toy(warm)
    tick(loop)
    answer_all(people)

    def die(*args: object, **_: object) -> None:
        if point == "during the copy":
            half = Path(str(args[1]))
            half.mkdir()
            (half / "config.json").write_text('{"trained": tr')
        raise Killed

    with monkeypatch.context() as patch:
        if point == "during the copy":
            patch.setattr(keep_teacher.shutil, "copytree", die)
        else:
            patch.setattr(Workspace, "dvc_add" if point == "after the copy" else "commit", die)
        with pytest.raises(Killed):
            tick(loop)
    assert "day/r0-labels" not in loop.workspace.tags_merged()
    assert tick(loop).startswith("finished day")
    teacher = loop.workspace.locked_outs("day/r0")[TEACHER]
    assert handed_over(loop.workspace, "day/r0-labels") == teacher
    assert loop.workspace.git.run("status", "--porcelain") == b""
    assert loop.workspace.dvc_status() == {}


def test_a_teacher_of_an_unfinished_round_is_not_handed_over(
    warm: Path, open_toy: Open, people: FakeAnnotator
) -> None:
    stage_domain(warm, "day", labelled=2)
    loop = open_toy(warm)
    tick(loop)
    expected = loop.workspace.locked_outs("day/r0")[TEACHER]
    # Other labels, and the round after them begun: DVC knows another teacher.
    manifest = warm / layout.MANIFEST
    said = manifest.read_text()
    manifest.write_text("".join(said.splitlines(keepends=True)[:-1]).replace("img000", "img999", 1))
    loop.workspace.repro("train_teacher", on_line=lambda line: None)
    loop.workspace.dvc_add(keep_teacher.hand_over_teacher(loop))
    pointer = YAML(typ="safe").load((warm / POINTER).read_text())
    assert pointer["outs"][0]["md5"] == expected
