"""What people and machines do to the tool's content: projects, tasks, titles, backups, clocks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from tests.faults.answers import asked
from tests.faults.people import Task, painted, truth
from tests.faults.scene import Scene


def some_answer(scene: Scene) -> list[Task]:
    """The query is sent; the seed says who has answered and whether the loop knows."""
    tasks = asked(scene)
    scene.people.answer_all(tasks[: int(scene.rng.integers(3))])
    if scene.rng.random() < 0.5:
        scene.tick()
    return tasks


def project_renamed(scene: Scene) -> None:
    first, *_ = some_answer(scene)
    title = f"Anna's images {scene.rng.integers(1000)}"
    scene.tool.patch(f"/api/projects/{first.project_id}/", {"title": title})
    scene.tick()
    scene.settle()


def title_edited(scene: Scene) -> None:
    """`annotation.title` of params.yaml, in mid-round."""
    some_answer(scene)
    scene.workspace.write_params({"annotation": {"title": "Other people"}})
    scene.tick()
    scene.settle()


def title_with_blanks(scene: Scene) -> None:
    """The tool trims titles; a title that begins with a blank must not be looked for in vain."""
    scene.workspace.write_params({"annotation": {"title": " Anna & Soehne "}})
    scene.mend = lambda scene, message: (
        "annotation.title" in message
        and bool(scene.workspace.write_params({"annotation": {"title": "Anna & Soehne"}}))
    )
    scene.settle()


def folder_renamed(scene: Scene) -> None:
    some_answer(scene)
    scene.root = scene.root.rename(scene.root.with_name("other place"))
    scene.tick()
    scene.settle()


def task_deleted(scene: Scene) -> None:
    """One that nobody had answered; restored, or not waited for."""
    *others, last = asked(scene)
    scene.people.answer_all(others)
    scene.tool.delete(f"/api/tasks/{last.task_id}/")
    scene.tick()
    scene.settle()


def answered_task_deleted(scene: Scene) -> None:
    """After the loop has the answer: it is kept, or put back."""
    first, *_ = asked(scene)
    answer = scene.people.answer(first, 0)
    scene.tick()
    scene.tool.delete(f"/api/tasks/{first.task_id}/")
    answer.lost_with_the_tool = True
    scene.tick()
    scene.settle()


def exported(scene: Scene, project_id: int) -> list[dict[str, Any]]:
    """The tasks as the tool's export has them, without ids and answers."""
    found = scene.tool.get("/api/tasks", project=project_id, fields="all", page_size=100)
    return [
        {
            "data": task["data"],
            "predictions": [
                {key: one[key] for key in ("result", "score", "model_version")}
                for one in task["predictions"]
            ],
        }
        for task in found["tasks"]
    ]


def deleted_and_imported(scene: Scene, *, others_first: int = 0) -> None:
    """All tasks deleted and imported again, in another order and perhaps behind other ones.

    The tool gives freed ids again, so that ids now mean other images.
    """
    tasks = asked(scene)
    project_id = tasks[0].project_id
    kept = exported(scene, project_id)
    for task in tasks:
        scene.tool.delete(f"/api/tasks/{task.task_id}/")
    by_hand = [{"data": {"image": "/data/upload/by-hand.png"}}]
    order = [kept[place] for place in scene.rng.permutation(len(kept))]
    scene.tool.post(f"/api/projects/{project_id}/import", [*(by_hand * others_first), *order])
    scene.people.answer_all()
    for task in scene.tool.get("/api/tasks", project=project_id, page_size=100)["tasks"]:
        if "item_id" not in task["data"]:  # answered too: people's own work in this project
            body = {"result": painted(truth("f" * 64, 5))}
            scene.tool.post(f"/api/tasks/{task['id']}/annotations/", body)
    scene.settle()


def one_imported_again(scene: Scene) -> None:
    """Deleted by mistake, brought back from an export, then answered."""
    first, *_ = some_answer(scene)
    open_ones = scene.people.open_tasks()
    lost = open_ones[int(scene.rng.integers(len(open_ones)))]
    (kept,) = [
        task
        for task, known in zip(exported(scene, first.project_id), scene.people.tasks(), strict=True)
        if known.task_id == lost.task_id
    ]
    scene.tool.delete(f"/api/tasks/{lost.task_id}/")
    scene.tool.post(f"/api/projects/{first.project_id}/import", [kept])
    scene.settle()


def task_twice(scene: Scene) -> None:
    """Imported twice, by a proxy or by hand; either or both are answered."""
    first, *_ = asked(scene)
    kept = exported(scene, first.project_id)
    scene.tool.post(f"/api/projects/{first.project_id}/import", [kept[0]])
    tasks = [
        task for task in scene.people.open_tasks() if task.seen == scene.people.tasks()[0].seen
    ]
    answered = tasks if scene.rng.random() < 0.5 else [tasks[int(scene.rng.integers(len(tasks)))]]
    for variant, task in enumerate(answered):
        scene.people.answer(task, variant)
    scene.people.answer_all([t for t in scene.people.open_tasks() if t.seen != tasks[0].seen])
    scene.tick()
    scene.settle()


def project_deleted(scene: Scene) -> None:
    """With all in it; what the loop had collected is put back or merged."""
    first, second, _ = asked(scene)
    answers = scene.people.answer_all([first, second])
    scene.tick()
    scene.tool.delete(f"/api/projects/{first.project_id}/")
    for answer in answers:
        answer.lost_with_the_tool = True
    scene.tick()
    scene.settle()


def set_back(scene: Scene, *, collected: bool) -> None:
    """The tool comes back from a backup older than some answers; annotation ids are given again."""
    first, second, third = asked(scene)
    scene.people.answer(first, 0)
    backup = scene.tool.backup()
    gone = scene.people.answer(second, 0)
    if collected:
        scene.tick()
    scene.tool.restore(backup)
    gone.lost_with_the_tool = True
    scene.struck += 1
    scene.people.answer(third, 1)  # under the id that the lost one had
    if not collected:
        scene.people.book.remove(gone)
    scene.tick()
    scene.settle()


def wiped(scene: Scene) -> None:
    """The tool's whole folder is lost; another one starts at its address."""
    first, *_ = asked(scene)
    answer = scene.people.answer(first, 0)
    scene.tick()
    scene.tool.wipe()
    answer.lost_with_the_tool = True
    scene.people.before = set()
    scene.struck += 1
    scene.tick()
    scene.settle()


def classes_changed(scene: Scene) -> None:
    """The labels of the project are edited in mid-round, then set back as the message says."""
    first, *_ = some_answer(scene)
    path = f"/api/projects/{first.project_id}/"
    config = scene.tool.get(path)["label_config"]
    scene.tool.patch(path, {"label_config": config.replace('value="sky"', 'value="heaven"')})
    scene.mend = lambda scene, message: (
        "params.yaml" in message and bool(scene.tool.patch(path, {"label_config": config}))
    )
    scene.tick()
    scene.settle()


def clock_was(scene: Scene, shift: str) -> None:
    """The tool's clock was wrong while one answered, and right again for the others."""
    first, second, third = asked(scene)
    wrong = scene.people.answer(first, 0)
    scene.tool.stamp(wrong.annotation_id, shift)
    scene.struck += 1
    scene.tick()
    scene.people.answer(second, 0)
    scene.tick()
    scene.people.answer(third, 0)
    scene.settle()


KINDS: dict[str, Callable[[Scene], None]] = {
    "project renamed": project_renamed,
    "annotation.title edited": title_edited,
    "annotation.title with blanks": title_with_blanks,
    "workspace's folder renamed": folder_renamed,
    "an open task deleted": task_deleted,
    "an answered task deleted": answered_task_deleted,
    "tasks imported again, other ids": deleted_and_imported,
    "tasks imported again behind others": partial(deleted_and_imported, others_first=2),
    "a task deleted and imported again": one_imported_again,
    "a task twice": task_twice,
    "project deleted": project_deleted,
    "set back to a backup, answers known": partial(set_back, collected=True),
    "set back to a backup, answers lost": partial(set_back, collected=False),
    "wiped": wiped,
    "classes edited": classes_changed,
    "clock an hour ahead": partial(clock_was, shift="+1 hour"),
    "clock a day behind": partial(clock_was, shift="-1 day"),
    "clock a second ahead": partial(clock_was, shift="+1 second"),
}
