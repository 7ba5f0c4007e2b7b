"""A task is named by what it carries: titles, numbers and folders may say what they like."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.annotators.annotator import Owner, ToolStateError
from flows.annotators.masks import BRUSH_LABELS, LABELS, encode_result
from flows.guards.tool_repair import adopt, put_back
from flows.loop import Loop
from flows.situation import read_situation
from flows.steps.identify import identify
from flows.steps.publish import publish
from flows.workspace.identity import Identity, new_identity, read_identity
from pipeline import layout
from pipeline.errors import WorkspaceError
from tests.flows.answers.conftest import Desk, same
from tests.flows.conftest import CLASSES, truth
from tests.support.fake_annotator import FakeAnnotator

Open = Callable[[Path], Loop]


def test_two_workspaces_of_one_name_on_one_server_keep_to_their_own(
    desk: Desk, asked_toy: Path, tmp_path: Path, open_toy: Open
) -> None:
    """Folder, title, domain, images' names and rounds are the same; the ids are not."""
    shutil.copytree(asked_toy / "workspace", tmp_path / "other/workspace", symlinks=True)
    other = open_toy(tmp_path / "other/workspace")
    new_identity(other.root)
    for file in other.root.glob(".ssl-loop/ledger.db*"):
        file.unlink()
    other = open_toy(other.root)
    from flows.versions.rebuild_ledger import rebuild

    rebuild(other)
    publish(other, other.require_position(), read_situation(other).query)
    assert other.project("day").project_id != desk.project_id
    assert len(desk.people.all_tasks()) == 6
    mine, theirs = desk.people.all_tasks()[0], desk.people.all_tasks()[3]
    assert mine["data"]["item_id"] == theirs["data"]["item_id"]
    desk.people.answer_task(mine["task_id"], truth(1))
    desk.people.answer_task(theirs["task_id"], truth(2))
    desk.look()
    colleague = Desk(loop=other, people=desk.people, items=desk.items, said=[])
    colleague.look()
    item_id = mine["data"]["item_id"]
    assert same(desk.kept(item_id), 1)
    assert same(colleague.kept(item_id), 2)
    assert len(desk.counting()) == len(colleague.counting()) == 1


def test_tasks_of_another_workspace_in_our_project_are_left_alone(desk: Desk) -> None:
    foreign = {"item_id": desk.items[0], "workspace": "0123456789ab", "image_sha256": "x"}
    for data in (foreign, {"item_id": desk.items[0]}, {"image": "x.png"}):
        task_id = desk.people.import_task(desk.project_id, data)
        desk.people.answer_task(task_id, truth(9))
    assert str(desk.look()) == "0/3: 3 open"
    assert desk.counting() == {}
    assert any("is of workspace 0123456789ab" in line for line in desk.said)


def test_a_task_that_shows_another_image_is_left_alone(desk: Desk) -> None:
    task_id = desk.people.task_id(desk.items[0])
    other = desk.people.all_tasks()[desk.people.task_id(desk.items[1]) - 1]
    desk.people.change_data(task_id, image_sha256=other["data"]["image_sha256"])
    desk.people.answer_task(task_id, truth(1))
    assert desk.look().missing == 1
    assert desk.counting() == {}


def test_tasks_deleted_and_imported_again_in_another_order_keep_their_images(desk: Desk) -> None:
    """The tool gives freed numbers again; two tasks by hand come first."""
    tasks = desk.people.all_tasks()
    for item_id in desk.items:
        desk.people.delete_task(item_id)
    for number in (1, 2):
        by_hand = desk.people.import_task(desk.project_id, {"image": f"{number}.png"})
        desk.people.answer_task(by_hand, truth(90 + number))
    for seed, task in enumerate(reversed(tasks)):
        again = desk.people.import_task(desk.project_id, task["data"])
        desk.people.answer_task(again, truth(seed))
    assert str(desk.look()) == "3/3: 0 open"
    for seed, item_id in enumerate(reversed(desk.items)):
        assert same(desk.kept(item_id), seed)


@pytest.mark.parametrize(
    "change",
    [
        lambda desk: desk.people.change_project(desk.project_id, title="ours, renamed"),
        lambda desk: desk.loop.workspace.write_params({"annotation": {"title": "another title"}}),
        lambda desk: desk.loop.workspace.write_params({"annotation": {"title": " Anna & Soehne"}}),
        lambda desk: desk.people.change_project(desk.project_id, owner=None),
    ],
    ids=["project renamed", "title edited", "title with a blank", "description edited"],
)
def test_names_that_people_change_change_nothing(
    desk: Desk, change: Callable[[Desk], None]
) -> None:
    change(desk)
    for seed, item_id in enumerate(desk.items):
        desk.people.answer(item_id, truth(seed))
    assert str(desk.look()) == "3/3: 0 open"
    assert len(desk.people.project_ids()) == 1


def test_the_workspaces_folder_may_be_renamed(desk: Desk, open_toy: Open, tmp_path: Path) -> None:
    desk.loop.ledger.close()
    desk.loop.root.rename(tmp_path / "renamed")
    moved = Desk(loop=open_toy(tmp_path / "renamed"), people=desk.people, items=desk.items, said=[])
    desk.people.answer(desk.items[0], truth(4))
    assert str(moved.look()) == "1/3: 2 open"
    assert len(desk.people.project_ids()) == 1


def test_a_project_that_is_gone_settles_nothing_and_comes_back(desk: Desk) -> None:
    desk.people.answer(desk.items[0], truth(1))
    desk.look()
    desk.people.delete_project(desk.project_id)
    with pytest.raises(ToolStateError, match=r"no project 1.*labelstudio restore.*adopt"):
        desk.look()
    again = put_back(desk.loop, "day")
    assert (again.is_new, again.tasks, again.answers) == (True, 3, 1)
    assert str(desk.look()) == "1/3: 2 open"
    assert desk.verdicts(desk.items[0]) == ["accepted", "withdrawn", "accepted"]
    assert same(desk.kept(desk.items[0]), 1)
    assert put_back(desk.loop, "day").tasks == 0  # nothing twice
    assert len(desk.people.open_items()) == 2


@pytest.mark.parametrize("kind", [LABELS, BRUSH_LABELS])
def test_a_project_that_is_made_again_has_the_interface_of_its_answers(
    desk: Desk, kind: str
) -> None:
    desk.people.submit(desk.items[0], encode_result(truth(1), CLASSES, "x", kind))
    desk.look()
    assert same(desk.kept(desk.items[0]), 1)
    desk.people.delete_project(desk.project_id)
    again = put_back(desk.loop, "day").project
    assert desk.people.is_brush_only(again.project_id) == (kind == BRUSH_LABELS)


def test_a_number_under_which_another_project_stands_is_refused(desk: Desk) -> None:
    number = desk.project_id
    desk.people.delete_project(number)
    state = desk.people._read()
    state["projects"][str(number)] = {"title": "roads", "classes": [], "owner": None}
    desk.people._write(state)
    with pytest.raises(ToolStateError, match="none of its tasks"):
        desk.look()
    desk.people.change_project(number, owner=["0123456789ab", "day"])
    with pytest.raises(ToolStateError, match="workspace 0123456789ab"):
        desk.look()


def test_a_task_that_is_gone_is_missing_not_answered(desk: Desk) -> None:
    desk.people.answer(desk.items[0], truth(1))
    desk.people.delete_task(desk.items[1])
    desk.people.answer(desk.items[2], truth(2))
    progress = desk.look()
    assert (progress.answered, progress.missing, progress.settled) == (2, 1, False)
    assert put_back(desk.loop, "day").tasks == 1
    desk.people.answer(desk.items[1], truth(3))
    assert desk.look().settled
    assert same(desk.kept(desk.items[1]), 3)


def test_a_task_that_was_put_back_answers_for_its_item(desk: Desk) -> None:
    """Brought back from its export by people, under another number."""
    data = desk.people.all_tasks()[desk.people.task_id(desk.items[0]) - 1]["data"]
    desk.people.delete_task(desk.items[0])
    desk.people.answer_task(desk.people.import_task(desk.project_id, data), truth(5))
    assert desk.look().answered == 1
    assert same(desk.kept(desk.items[0]), 5)


def test_adopting_a_project_takes_the_tasks_that_show_their_images(desk: Desk) -> None:
    """Moved to another server by an export that dropped what the loop knows tasks by."""
    tasks = desk.people.all_tasks()
    moved = desk.people.create_project(Owner(workspace_id="", domain=""), "moved", [])
    desk.people.change_project(moved.project_id, owner=None)
    images = [task["data"]["image"] for task in tasks]
    wrong = [images[1], images[0], images[2]]  # two of them show each other's image
    for task, image in zip(tasks, wrong, strict=True):
        data = {"item_id": task["data"]["item_id"], "image": image}
        desk.people.answer_task(desk.people.import_task(moved.project_id, data), truth(3))
    desk.people.delete_project(desk.project_id)
    adopted = adopt(desk.loop, "day", moved.project_id, take_over=False)
    assert adopted.tasks == 1
    assert [line.split()[3] for line in adopted.left_alone] == desk.items[:2]
    assert list(desk.counting()) == desk.items[2:]
    assert desk.look().missing == 2


def test_another_workspaces_project_is_adopted_only_when_said(desk: Desk) -> None:
    desk.people.change_project(desk.project_id, owner=["0123456789ab", "day"])
    with pytest.raises(ToolStateError, match="--take-over"):
        adopt(desk.loop, "day", 1, take_over=False)
    assert adopt(desk.loop, "day", 1, take_over=True).tasks == 0
    assert desk.look().open == 3


def test_a_ledger_made_again_finds_its_project_by_what_it_says(desk: Desk, open_toy: Open) -> None:
    from flows.versions.rebuild_ledger import rebuild

    desk.people.answer(desk.items[0], truth(1))
    desk.loop.ledger.close()
    for file in desk.loop.root.glob(".ssl-loop/ledger.db*"):
        file.unlink()
    again = Desk(loop=open_toy(desk.loop.root), people=desk.people, items=desk.items, said=[])
    rebuild(again.loop)
    publish(again.loop, again.loop.require_position(), read_situation(again.loop).query)
    assert str(again.look()) == "1/3: 2 open"
    assert len(desk.people.all_tasks()) == 3
    assert len(desk.people.project_ids()) == 1


def test_an_older_workspace_gets_an_id_and_keeps_its_tasks(desk: Desk, open_toy: Open) -> None:
    """Its tasks carry no workspace and its project says nothing: the ledger knows their numbers."""
    loop, project_id = desk.loop, desk.project_id
    loop.workspace.git.run("rm", "--quiet", "--cached", layout.WORKSPACE.as_posix())
    loop.workspace.git.run("commit", "--quiet", "-m", "As an older version left it")
    (loop.root / layout.WORKSPACE).unlink()
    state = desk.people._read()
    state["projects"][str(project_id)]["owner"] = None
    for task in state["tasks"].values():
        task["data"] = {key: task["data"][key] for key in ("item_id", "sample_id", "reason")}
    desk.people._write(state)
    old = open_toy(loop.root)
    with pytest.raises(WorkspaceError, match="next tick"):
        _ = old.identity
    identify(old)
    identify(old)
    assert old.workspace.exists_at("HEAD", layout.WORKSPACE)
    old = open_toy(loop.root)
    assert old.project("day").owner == Owner(workspace_id=old.identity.id, domain="day")
    assert old.project("day").project_id == project_id
    desk.people.answer(desk.items[0], truth(1))
    again = Desk(loop=old, people=desk.people, items=desk.items, said=[])
    assert str(again.look()) == "1/3: 2 open"


def test_a_damaged_id_is_refused(tmp_path: Path) -> None:
    assert read_identity(tmp_path) is None
    made = new_identity(tmp_path)
    assert read_identity(tmp_path) == made == Identity(id=made.id)
    for text in ("", "[]", '{"id": "x"}', '{"name": 1}', '{"id": 5}'):
        (tmp_path / layout.WORKSPACE).write_text(text)
        with pytest.raises(
            WorkspaceError, match=r"workspace\.json.*git checkout -- workspace\.json"
        ):
            read_identity(tmp_path)


def test_several_projects_that_claim_to_be_ours_are_told_apart_by_a_person(
    desk: Desk, open_toy: Open, people: FakeAnnotator
) -> None:
    owner = Owner(workspace_id=desk.loop.identity.id, domain="dusk")
    first = people.create_project(owner, "a", [])
    people.create_project(owner, "b", [])
    with pytest.raises(ToolStateError, match=r"several projects.*adopt --project"):
        desk.loop.project("dusk")
    with pytest.raises(ToolStateError, match="no project 99"):
        adopt(desk.loop, "dusk", 99, take_over=False)
    assert first.owner == owner
