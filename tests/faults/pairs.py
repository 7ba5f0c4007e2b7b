"""Two of everything: workspaces of one name on one server, whose images have the same names."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tests.faults.scene import Scene


def side_by_side(scene: Scene, *, rounds: int = 1) -> None:
    """Their ticks and their people in turn, in an order that the seed says."""
    scenes = [scene, scene.beside()]
    for round_index in range(rounds):
        for one in in_turn(scene, scenes):
            one.tick(to_round=round_index)
        for one in in_turn(scene, scenes):
            one.people.answer_all()
        for one in in_turn(scene, scenes):
            one.settle(to_round=round_index)


def in_turn(scene: Scene, scenes: list[Scene]) -> list[Scene]:
    return [scenes[place] for place in scene.rng.permutation(len(scenes))]


def the_second_comes_later(scene: Scene) -> None:
    """When the first one's answers are there already."""
    scene.publish_and_answer()
    if scene.rng.random() < 0.5:
        scene.settle()
    other = scene.beside()
    other.tick()
    other.settle()
    scene.settle()


def one_deletes(scene: Scene) -> None:
    """The first one's project is deleted while the other's people work."""
    other = scene.beside()
    scene.publish()
    before = set(scene.tool.projects())
    other.publish_and_answer()
    for project_id in set(scene.tool.projects()) - before:
        scene.struck += 1
        scene.tool.delete(f"/api/projects/{project_id}/")
    for answer in other.people.book:
        answer.lost_with_the_tool = True
    scene.settle()
    other.people.book.clear()
    other.settle()


KINDS: dict[str, Callable[[Scene], None]] = {
    "two workspaces side by side": side_by_side,
    "two workspaces, two rounds": partial(side_by_side, rounds=2),
    "two workspaces, one later": the_second_comes_later,
    "two workspaces, one loses its project": one_deletes,
}
