"""A new domain that costs an older one: told, or not offered until a person takes it."""

from __future__ import annotations

import getpass
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from db import repository
from db.session import open_ledger, session_scope
from flows import run_page
from flows.cli import main
from flows.loop import Loop
from flows.rounds import offered_teacher
from flows.rounds.offered_teacher import accept_round, offered_tag
from flows.steps.reproduce import seal_round
from flows.tick import tick
from flows.versions.rebuild_ledger import rebuild
from flows.views.status import describe, status
from flows.workspace.workspace import Workspace
from pipeline import layout
from pipeline.errors import WorkspaceError
from tests.flows.conftest import CLASSES, stage_domain, truth
from tests.support.fake_annotator import FakeAnnotator

Open = Callable[[Path], Loop]


def reach(monkeypatch: pytest.MonkeyPatch, on_day: float) -> None:
    """What the toy teachers reach on day from now on; on dusk always 0.5."""
    monkeypatch.setenv("TOY_MIOU", json.dumps({"day": on_day, "dusk": 0.5}))


def answer_all(people: FakeAnnotator) -> None:
    for seed, item_id in enumerate(people.open_items()):
        people.answer(item_id, truth(seed))


@pytest.fixture(scope="module")
def shifted(blank_toy: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A workspace and its log: day reached 0.55, then 0.60; after dusk's first round 0.57."""
    base = tmp_path_factory.mktemp("shifted")
    root, people = base / "workspace", FakeAnnotator(base / "tool.json", CLASSES)
    shutil.copytree(blank_toy, root, symlinks=True)
    heard: list[str] = []
    with pytest.MonkeyPatch.context() as monkeypatch:

        def hear(line: str) -> None:
            heard.append(line)
            if "taking in domain dusk" in line:
                reach(monkeypatch, 0.57)

        loop = Loop(
            workspace=Workspace(root),
            ledger=open_ledger(root / layout.LEDGER),
            log=hear,
            annotator_factory=lambda *_: people,
        )
        loop.workspace.write_params({"loop": {"budget": 3}})
        stage_domain(root, "day", labelled=2, pool=4, val=2)
        reach(monkeypatch, 0.55)
        tick(loop)
        stage_domain(root, "dusk", labelled=1, pool=7, val=1)
        reach(monkeypatch, 0.60)
        answer_all(people)
        assert tick(loop) == "waiting 0/3: 3 open (dusk/r0)"
        loop.ledger.close()
    return base, heard


@pytest.fixture
def loop(shifted: tuple[Path, list[str]], open_toy: Open, tmp_path: Path) -> Loop:
    """A copy of it."""
    shutil.copytree(shifted[0], tmp_path, dirs_exist_ok=True, symlinks=True)
    return open_toy(tmp_path / "workspace")


@pytest.fixture
def refusing(loop: Loop) -> Loop:
    """The same under the stricter rule."""
    loop.workspace.write_params({"loop": {"forgetting": "refuse"}})
    return loop


def events(loop: Loop, kind: str) -> list[tuple[str | None, int | None]]:
    with session_scope(loop.ledger, read_only=True) as session:
        return [(e.domain, e.round_index) for e in repository.events(session, kind=kind)]


def test_a_loss_is_told_everywhere(loop: Loop, shifted: tuple[Path, list[str]]) -> None:
    words = (
        "day fell by 0.030: 0.600 mIoU after day/r1, 0.570 now (2 val images), more than "
        "loop.forgetting_tolerance 0.01."
    )
    assert [line for line in shifted[1] if "fell by" in line] == [words]
    first, last = (
        json.loads(loop.workspace.show(tag, layout.FORGETTING)) for tag in ("day/r0", "dusk/r0")
    )
    assert (first["matrix"], first["forgetting"]) == ([[0.55]], {})
    assert last["matrix"] == [[0.6, None], [0.57, 0.5]]
    assert (last["forgetting"], last["backward_transfer"]) == ({"day": 0.03}, -0.03)
    now = status(loop)
    assert (now.model_tag, now.miou["teacher"]["day"]) == ("dusk/r0", 0.57)
    assert f"older domains: {words}" in describe(now, [])
    told = json.loads(json.dumps(now.to_dict()))["forgetting"]
    assert (told["beyond"], told["refused"], told["tolerance"]) == (["day"], False, 0.01)
    assert words in told["in_words"]
    assert events(loop, "forgotten") == [("dusk", 0)]
    page = (loop.root / layout.REPORT).read_text()
    assert page.count("day fell by 0.030") == 2  # among the findings and in its section


def test_the_run_page_shows_the_matrix(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[dict[str, str]] = []
    monkeypatch.setattr(run_page, "create_markdown_artifact", lambda **each: shown.append(each))
    here = loop.position()
    assert here is not None
    run_page.show_forgetting(loop, here)
    assert shown[0]["description"] == "dusk/r0: day fell"
    assert "| day/r1 | 0.600 |  |\n| dusk/r0 | 0.570 | 0.500 |" in shown[0]["markdown"]


def test_a_refused_teacher_is_kept_but_not_offered(
    refusing: Loop, people: FakeAnnotator, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = status(refusing)
    assert (now.model_tag, now.round_index, now.miou["teacher"]["day"]) == ("day/r1", 0, 0.6)
    assert now.model_revision == refusing.workspace.revision("day/r1")
    assert "`ssl-loop round accept dusk/r0`" in describe(now, [])
    assert "dusk/r0" in refusing.workspace.tags_merged()
    argv = ["export", str(refusing.root / layout.TEACHER), "--onnx", str(refusing.root / "x.onnx")]
    exported = CliRunner().invoke(main, argv)
    assert exported.exit_code == 1
    assert "the teacher of dusk/r0 is refused" in exported.output
    assert "git checkout day/r1" in exported.output
    answer_all(people)
    reach(monkeypatch, 0.595)  # within 0.01 of the best: offered by itself
    assert tick(refusing).startswith("finished dusk")
    assert offered_tag(refusing.workspace) == "dusk/r1"
    assert status(refusing).forgetting.refused is False


def test_people_accept_it_or_raise_the_tolerance(refusing: Loop) -> None:
    refusing.workspace.write_params({"loop": {"forgetting_tolerance": 0.03}})
    assert offered_tag(refusing.workspace) == "dusk/r0"
    refusing.workspace.write_params({"loop": {"forgetting_tolerance": 0.01}})
    assert offered_tag(refusing.workspace) == "day/r1"
    said = CliRunner().invoke(main, ["round", "accept", "-w", str(refusing.root)])
    assert said.output == "dusk/r0 is accepted with what it costs older domains\n"
    assert offered_tag(refusing.workspace) == "dusk/r0"
    assert refusing.workspace.revision("dusk/r0-accepted") == refusing.workspace.revision("dusk/r0")
    assert "it was before" in accept_round(refusing, "dusk/r0")
    assert events(refusing, "forgetting_accepted") == [("dusk", 0)]
    assert not status(refusing).forgetting.beyond  # nor is it flagged any longer


def test_an_acceptance_is_evidence_even_where_the_ledger_missed_it(
    refusing: Loop, open_toy: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(offered_teacher, "record_forgetting", die)
        with pytest.raises(KeyboardInterrupt):
            accept_round(refusing)
    assert offered_tag(refusing.workspace) == "dusk/r0"
    assert events(refusing, "forgetting_accepted") == []
    refusing.ledger.close()
    for file in refusing.root.glob(".ssl-loop/ledger.db*"):
        file.unlink()
    again = open_toy(refusing.root)
    rebuild(again)
    assert events(again, "forgotten") == events(again, "forgetting_accepted") == [("dusk", 0)]
    with session_scope(again.ledger, read_only=True) as session:
        (accepted,) = repository.events(session, kind="forgetting_accepted")
    assert accepted.who == getpass.getuser()


def test_killed_between_the_files_and_the_commit_the_round_says_the_same(
    loop: Loop,
) -> None:
    here = loop.position()
    before = (loop.root / layout.FORGETTING).read_bytes()
    loop.workspace.git.run("tag", "--delete", here.tag)
    (loop.root / layout.FORGETTING).unlink()
    assert status(loop).model_tag == "day/r1"
    seal_round(loop, loop.position())
    assert (loop.root / layout.FORGETTING).read_bytes() == before
    assert loop.workspace.show("dusk/r0", layout.FORGETTING) == before


def test_what_cannot_be_accepted_is_refused_in_words(loop: Loop) -> None:
    with pytest.raises(WorkspaceError, match="nothing to accept"):
        accept_round(loop, "day/r0")
    with pytest.raises(
        WorkspaceError, match="dusk/r7: not a computed round; known: day/r0, day/r1, dusk/r0"
    ):
        accept_round(loop, "dusk/r7")
