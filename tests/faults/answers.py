"""What people do: all of it has to be found, under its image, and the right one has to count."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from tests.faults import proxy
from tests.faults.people import Answer, Result, Task, painted, truth
from tests.faults.proxy import Trouble
from tests.faults.scene import Scene

SIZE = (24, 32)
LISTED = re.compile(r"GET /api/tasks")


def asked(scene: Scene) -> list[Task]:
    """The query, sent, in an order that the seed says."""
    scene.publish()
    tasks = scene.people.open_tasks()
    return [tasks[place] for place in scene.rng.permutation(len(tasks))]


def plain(scene: Scene) -> None:
    """Nothing goes wrong at all: the harness itself is right."""
    scene.publish_and_answer()
    scene.settle()


def submitted_twice(scene: Scene) -> None:
    first, *_ = asked(scene)
    result = painted(truth(first.seen, 0))
    for _ in range(2):
        scene.people.answer(first, result=result)
    scene.settle()


def by_two_people(scene: Scene) -> None:
    first, *_ = asked(scene)
    scene.people.answer(first, 0)
    if scene.rng.random() < 0.5:
        scene.tick()
    scene.people.answer(first, 1)
    scene.settle()


def starred(scene: Scene) -> None:
    """The older of two is starred, before or after the loop has seen both."""
    first, *_ = asked(scene)
    good = scene.people.answer(first, 0)
    if before := scene.rng.random() < 0.5:
        scene.people.star(good)
    scene.people.answer(first, 1)
    scene.tick()
    if not before:
        scene.people.star(good)
    scene.settle()


def edited(scene: Scene, *variants: int) -> None:
    """Opened again, painted otherwise, updated, with or without a tick between."""
    first, *_ = asked(scene)
    answer = scene.people.answer(first, 0)
    for variant in variants:
        if scene.rng.random() < 0.7:
            scene.tick()
        scene.people.edit(answer, variant)
    scene.settle()


def updated_unchanged(scene: Scene) -> None:
    first, *_ = asked(scene)
    answer = scene.people.answer(first, 0)
    scene.tick()
    scene.people.update_unchanged(answer)
    scene.tick()
    scene.settle()


def skipped(scene: Scene) -> None:
    first, *others = asked(scene)
    scene.people.skip(first)
    scene.people.answer_all(others)
    scene.settle()


def skipped_then_answered(scene: Scene) -> None:
    first, *_ = asked(scene)
    skip = scene.people.skip(first)
    scene.tick()
    if scene.rng.random() < 0.5:
        scene.people.edit(skip, 1)  # the one who skipped thinks again
    else:
        scene.people.answer(first, 1)
    scene.settle()


def withdrawn(scene: Scene) -> None:
    """Deleted by its author, before or after the loop has seen it, then answered anew."""
    first, *_ = asked(scene)
    answer = scene.people.answer(first, 0)
    if scene.rng.random() < 0.5:
        scene.tick()
    scene.people.withdraw(answer)
    scene.tick()
    scene.people.answer(first, 1)
    scene.settle()


def withdrawn_and_closed(scene: Scene) -> None:
    """Deleted by its author after the loop has seen it; nobody answers, the round is closed."""
    first, second, _ = asked(scene)
    answer = scene.people.answer(first, 0)
    scene.people.answer(second, 0)
    scene.tick()
    scene.people.withdraw(answer)
    scene.close()


def draft_only(scene: Scene) -> None:
    """Begun, not submitted: no answer yet."""
    first, *_ = asked(scene)
    body = {"result": painted(truth(first.seen, 3)), "lead_time": 1.0}
    scene.tool.post(f"/api/tasks/{first.task_id}/drafts", body)
    scene.tick()
    scene.settle()


# --- entries that are no brush beside good ones


def region(kind: str, value: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Something that is not a painted class."""
    base = {"id": "odd", "type": kind, "from_name": "odd", "to_name": "image", "origin": "manual"}
    sizes = {"original_height": SIZE[0], "original_width": SIZE[1], "image_rotation": 0}
    return base | sizes | {"value": value} | more


ODD: dict[str, dict[str, Any]] = {
    "choices": region("choices", {"choices": ["blurred"]}),
    "text": region("textarea", {"text": ["see the left edge"]}),
    "text with NUL": region("textarea", {"text": ["a\u0000b"]}),
    "a rating": region("rating", {"rating": 3}),
    "an ellipse of another label": region(
        "ellipselabels",
        {"x": 1, "y": 1, "radiusX": 2, "radiusY": 2, "ellipselabels": ["scratch"]},
    ),
    "a relation": {"type": "relation", "from_id": "a", "to_id": "b", "direction": "right"},
    "an unlabelled region": region(
        "brush", {"format": "rle", "rle": []}, from_name="label"
    ),
    "an empty brush": region(
        "labels", {"format": "rle", "rle": [], "labels": ["road"]}, from_name="label"
    ),
}  # fmt: skip


def beside(scene: Scene, odd: str) -> None:
    """One foreign entry does not condemn what is painted."""
    first, *_ = asked(scene)
    result = painted(truth(first.seen, 0))
    place = int(scene.rng.integers(len(result) + 1))
    scene.people.answer(first, result=[*result[:place], ODD[odd], *result[place:]])
    scene.settle()


def choices_in_the_interface(scene: Scene) -> None:
    """Somebody adds a question to the labelling interface in mid-round."""
    first, *_ = asked(scene)
    path = f"/api/projects/{first.project_id}/"
    config = scene.tool.get(path)["label_config"]
    more = '<Choices name="odd" toName="image"><Choice value="blurred"/></Choices></View>'
    scene.tool.patch(path, {"label_config": config.replace("</View>", more)})
    result = [*painted(truth(first.seen, 0)), ODD["choices"]]
    scene.people.answer(first, result=result)
    scene.settle()


def lead_time(scene: Scene) -> None:
    """The tool's page counts time without a floor."""
    first, *_ = asked(scene)
    seconds = float(scene.rng.choice([-5.0, -0.001, 0.0, 1e12]))
    scene.people.answer(first, lead_time=seconds)
    scene.settle()


# --- answers that nobody can read


def unreadable_result(scene: Scene, task: Task) -> Result:
    """A class that is none, or nothing painted at all."""
    result = painted(truth(task.seen, 4))
    for one in result:
        one["value"]["labels"] = ["no such class"]
    return [] if scene.rng.random() < 0.4 else result


def unreadable(scene: Scene) -> tuple[Answer, Task]:
    first, *_ = asked(scene)
    return scene.people.answer(
        first, 4, result=unreadable_result(scene, first), readable=False
    ), first


def unreadable_then_mended(scene: Scene) -> None:
    answer, _ = unreadable(scene)
    scene.tick()
    scene.people.mend(answer, 1)
    scene.settle()


def unreadable_then_another(scene: Scene) -> None:
    _, task = unreadable(scene)
    scene.tick()
    scene.people.answer(task, 1)
    scene.settle()


def unreadable_mended_meanwhile(scene: Scene) -> None:
    """Mended after the tick has read it and before the tick acts on it."""
    answer, _ = unreadable(scene)
    mend = proxy.meanwhile(lambda: scene.people.mend(answer, 1))
    scene.proxy.set(Trouble(mend, LISTED, after=int(scene.rng.integers(2))))
    scene.tick()
    scene.settle()


def unreadable_twice_by_double_click(scene: Scene) -> None:
    _, task = unreadable(scene)
    scene.people.answer(task, 4, result=[], readable=False)
    scene.tick()
    scene.people.answer(task, 1)
    scene.settle()


def edited_meanwhile(scene: Scene) -> None:
    """Edited after the tick has read it; the round may be merged with the older one."""
    tasks = asked(scene)
    answers = scene.people.answer_all(tasks)
    edit = proxy.meanwhile(lambda: scene.people.edit(answers[0], 1))
    scene.proxy.set(Trouble(edit, LISTED, after=int(scene.rng.integers(2))))
    scene.tick()
    scene.settle()
    scene.settle(to_round=1)


def cannot_be_listed(scene: Scene) -> None:
    """One answer that the tool itself cannot give out; the others are collected all the same."""
    first, second, third = asked(scene)
    bad = scene.people.answer(first, 0)
    good = json.dumps(scene.tool.get(f"/api/annotations/{bad.annotation_id}/")["result"])
    odd = json.dumps(region("textarea", {"text": ["@"]}))
    odd = odd.replace('"@"', str(scene.rng.choice(['"\\ud800"', "Infinity", "NaN"])))
    scene.tool.set_result(bad.annotation_id, f"{good[:-1]}, {odd}]")
    other = scene.people.answer(second, 0)
    scene.tick()
    scene.expect_collected(other)
    scene.tool.set_result(bad.annotation_id, good)
    scene.people.touch(bad)
    scene.people.answer(third, 0)
    scene.settle()


# --- late ones


def corrected_after_the_merge(scene: Scene) -> None:
    answers = scene.people.answer_all(asked(scene))
    scene.settle()
    scene.people.edit(answers[0], 1)
    scene.settle(to_round=1)


def answered_after_closing(scene: Scene) -> None:
    first, *others = asked(scene)
    scene.people.answer_all(others)
    scene.tick()
    scene.close()
    scene.people.answer(first, 0)
    scene.settle(to_round=1)


def corrected_after_the_end(scene: Scene) -> None:
    """The budget is spent, the campaign finished; then somebody mends an answer."""
    answers = scene.people.answer_all(asked(scene))
    scene.settle()
    scene.settle(to_round=1)
    scene.settle(to_round=2)  # says "finished"
    scene.people.edit(answers[0], 1)
    scene.settle(to_round=2)
    if "came late" in scene.said[-1]:  # it is kept, and the loop says what it waits for
        scene.people.by_hand[answers[0].seen] = 0


KINDS: dict[str, Callable[[Scene], None]] = {
    "nothing goes wrong": plain,
    "submitted twice": submitted_twice,
    "by two people": by_two_people,
    "the older one starred": starred,
    "edited": lambda scene: edited(scene, 1),
    "edited there and back": lambda scene: edited(scene, 1, 0),
    "updated without a change": updated_unchanged,
    "skipped": skipped,
    "skipped, then answered": skipped_then_answered,
    "withdrawn, then answered": withdrawn,
    "withdrawn, then closed": withdrawn_and_closed,
    "a draft only": draft_only,
    **{f"{odd} beside brushes": (lambda scene, odd=odd: beside(scene, odd)) for odd in ODD},
    "choices added to the interface": choices_in_the_interface,
    "an impossible lead time": lead_time,
    "unreadable, then mended": unreadable_then_mended,
    "unreadable, then another": unreadable_then_another,
    "unreadable, mended meanwhile": unreadable_mended_meanwhile,
    "unreadable twice by a double click": unreadable_twice_by_double_click,
    "edited meanwhile": edited_meanwhile,
    "the tool cannot list one": cannot_be_listed,
    "corrected after the merge": corrected_after_the_merge,
    "answered after closing": answered_after_closing,
    "corrected after the end": corrected_after_the_end,
}
