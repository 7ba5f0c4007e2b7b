"""The simulated annotator on a real Label Studio: it acts as a person in the browser would."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.annotators.annotator import Project, PulledAnnotation, PushedTask, PushItem
from flows.annotators.label_studio import LabelStudio
from flows.annotators.label_studio_project import RETURNED
from flows.annotators.label_studio_tasks import prepare
from flows.annotators.masks import as_painted, decode_annotation
from flows.annotators.simulated import AnswerSummary, Behaviour, SimulatedAnnotator
from flows.annotators.simulated_strokes import Interface
from pipeline.campaign.acts import Acts, minutes_of
from pipeline.campaign.corrections import apply_to, corrections_of
from pipeline.data.formats.images import save_mask
from pipeline.errors import AnnotationError, ConfigError, DataError, ServiceError
from pipeline.records.regions import Box, inside, kept_inside
from pipeline.types import IGNORE
from tests.flows.annotators.conftest import CLASSES, MakeItems, owner_of, pull, random_mask
from tests.support.label_studio_server import Server

SIZE = (48, 64)


class Round:
    """Items pushed to a project, with a truth on disk that differs from what was proposed."""

    def __init__(self, server: Server, project: Project, items: list[PushItem], truth: Path):
        self.server, self.project, self.items, self.truth = server, project, items, truth
        self.loop = LabelStudio(server.url, server.token)
        rng = np.random.default_rng(99)
        for item in items:
            save_mask(truth / f"{item.sample_id}.png", random_mask(rng, SIZE))
        self.tasks: list[PushedTask] = self.loop.push(
            project, items, model_version="day-r0", on_progress=lambda *n: None
        )

    def person(self, **behaviour: Any) -> SimulatedAnnotator:
        return SimulatedAnnotator(
            self.server.url, self.server.token, self.truth, Behaviour(**behaviour)
        )

    def answer(self, limit: int | None = None, **behaviour: Any) -> AnswerSummary:
        return self.person(**behaviour).answer(self.project.project_id, limit)

    def pulled(self) -> list[PulledAnnotation]:
        return pull(self.loop, self.project)

    def decoded(self, annotation: PulledAnnotation) -> np.ndarray:
        task = next(task for task in self.tasks if task.task_id == annotation.task_id)
        return decode_annotation(annotation.result, task.result, CLASSES, size=SIZE)

    def true(self, annotation: PulledAnnotation) -> np.ndarray:
        from PIL import Image

        task = next(task for task in self.tasks if task.task_id == annotation.task_id)
        sample_id = task.item_id.rsplit("/", 1)[0]
        return np.asarray(Image.open(self.truth / f"{sample_id}.png"))


@pytest.fixture
def asked(label_studio: Server, project: Project, make_items: MakeItems, tmp_path: Path) -> Round:
    return Round(label_studio, project, make_items(4), tmp_path / "truth")


@pytest.mark.services
def test_the_answers_are_the_truth_most_uncertain_first(asked: Round) -> None:
    assert asked.answer(limit=2) == AnswerSummary(corrected=2)
    pulled = asked.pulled()
    assert [one.task_id for one in pulled] == [task.task_id for task in asked.tasks[:2]]
    for one, task in zip(pulled, asked.tasks, strict=False):
        np.testing.assert_array_equal(asked.decoded(one), asked.true(one))
        assert {r["origin"] for r in one.result} <= {"prediction", "prediction-changed", "manual"}
        assert {r["id"] for r in one.result} & {r["id"] for r in task.result}
        assert one.raw["parent_prediction"] == task.prediction_id
        assert one.lead_time_s is not None
        assert one.lead_time_s > 2
    assert asked.answer() == AnswerSummary(corrected=2)
    assert asked.answer() == AnswerSummary()


@pytest.mark.services
def test_an_image_proposed_rightly_is_submitted_as_it_is(
    label_studio: Server, project: Project, make_items: MakeItems, tmp_path: Path
) -> None:
    asked = Round(label_studio, project, make_items(1), tmp_path / "truth")
    mask = asked.items[0].pre_annotation_HW
    assert mask is not None
    save_mask(asked.truth / f"{asked.items[0].sample_id}.png", mask)
    assert asked.answer(boundary_noise_px=3.0) == AnswerSummary(as_proposed=1)
    (one,) = asked.pulled()
    assert {region["origin"] for region in one.result} == {"prediction"}


def test_only_the_largest_mistakes_are_corrected_where_that_is_asked(
    make_items: MakeItems, tmp_path: Path
) -> None:
    (item,) = make_items(1)
    shown = item.pre_annotation_HW
    assert shown is not None
    truth = np.where(shown == 0, np.uint8(1), shown)  # the whole of one class is wrong
    truth[:2, :2] = 2
    save_mask(tmp_path / f"{item.sample_id}.png", truth)
    (upload,) = prepare([replace(item, corrects=True)], CLASSES, "m")
    task = {"id": 1, "meta": {}, **upload.task("/x")}
    task["predictions"] = [{"id": 7, "result": upload.result}]
    behaviour = Behaviour(most_corrections=1, lead_time_sigma=0.0)
    person = SimulatedAnnotator("http://127.0.0.1:9", "key", tmp_path, behaviour)
    answer = person._decide(task, Interface(CLASSES, "labels"))
    given = decode_annotation(answer.result, upload.result, CLASSES, size=SIZE)
    (stroke,) = corrections_of(shown, truth, 1, "stroke")
    expected = shown.copy()
    apply_to(expected, [stroke])
    np.testing.assert_array_equal(given, expected)
    assert answer.lead_time_s == pytest.approx(60 * minutes_of(Acts(looks=1, strokes=1)))


@pytest.mark.services
def test_without_pre_annotations_everything_is_painted(
    label_studio: Server, project: Project, make_items: MakeItems, tmp_path: Path
) -> None:
    asked = Round(label_studio, project, make_items(2, masks=False), tmp_path / "truth")
    assert asked.answer() == AnswerSummary(painted=2)
    for one in asked.pulled():
        np.testing.assert_array_equal(asked.decoded(one), asked.true(one))
        assert {region["origin"] for region in one.result} == {"manual"}


@pytest.mark.services
@pytest.mark.parametrize("masks", [True, False])
def test_of_regions_only_these_are_answered(
    label_studio: Server, project: Project, make_items: MakeItems, tmp_path: Path, masks: bool
) -> None:
    boxes = (Box(8, 0, 16, 24), Box(40, 24, 24, 24))
    asked_HW = inside(boxes, SIZE)
    items = []
    for item in make_items(2, masks=masks):
        mask = item.pre_annotation_HW
        shown = None if mask is None else np.where(asked_HW, mask, np.uint8(IGNORE))
        items.append(replace(item, regions=boxes, pre_annotation_HW=shown))
    asked = Round(label_studio, project, items, tmp_path / "truth")
    assert asked.answer().answered == 2
    for one in asked.pulled():
        expected = np.where(asked_HW, asked.true(one), IGNORE)
        np.testing.assert_array_equal(asked.decoded(one), expected)


@pytest.mark.services
@pytest.mark.parametrize("regions", [(), (Box(8, 0, 16, 24), Box(40, 24, 24, 24))])
def test_with_a_background_that_class_is_never_painted(
    label_studio: Server,
    project: Project,
    make_items: MakeItems,
    tmp_path: Path,
    regions: tuple[Box, ...],
) -> None:
    items = []
    for item in make_items(2):
        bare = kept_inside(as_painted(item.pre_annotation_HW, CLASSES, "road"), regions)
        items.append(replace(item, regions=regions, background="road", pre_annotation_HW=bare))
    asked = Round(label_studio, project, items, tmp_path / "truth")
    assert asked.answer(boundary_noise_px=0.0) == AnswerSummary(corrected=2)
    for one, task in zip(asked.pulled(), asked.tasks, strict=True):
        labels = {region["value"]["labels"][0] for region in one.result}
        assert "road" not in labels
        mask = decode_annotation(one.result, task.result, CLASSES, size=SIZE, background="road")
        expected = kept_inside(asked.true(one), regions)
        np.testing.assert_array_equal(kept_inside(mask, regions), expected)


@pytest.mark.services
def test_skips(asked: Round) -> None:
    assert asked.answer(skip=1.0) == AnswerSummary(skipped=4)
    assert [one.was_cancelled for one in asked.pulled()] == [True] * 4


@pytest.mark.services
def test_double_submits(asked: Round) -> None:
    assert asked.answer(double_submit=1.0) == AnswerSummary(corrected=4, doubled=4)
    assert len(asked.pulled()) == 8


@pytest.mark.services
def test_edits_after_submit_complete_what_was_half_done(asked: Round) -> None:
    assert asked.answer(edit_after_submit=1.0) == AnswerSummary(corrected=4, edited=4)
    pulled = asked.pulled()
    assert len(pulled) == 4
    for one in pulled:
        assert one.updated_at > one.created_at
        np.testing.assert_array_equal(asked.decoded(one), asked.true(one))


@pytest.mark.services
def test_an_unreadable_answer_is_given_once_and_asked_again_is_right(asked: Round) -> None:
    assert asked.answer(undecodable=1.0) == AnswerSummary(corrected=4, undecodable=4)
    for one in asked.pulled():
        with pytest.raises(AnnotationError):
            asked.decoded(one)
    for task in asked.loop.tasks(asked.project):
        asked.loop.note(task, {"reason": "SENT BACK", RETURNED: "yes"})
    # Another process of the same behaviour.
    assert asked.answer(undecodable=1.0) == AnswerSummary(corrected=4)
    assert asked.answer(undecodable=1.0) == AnswerSummary()  # though the notes still stand
    for one in asked.pulled():
        np.testing.assert_array_equal(asked.decoded(one), asked.true(one))


@pytest.mark.services
def test_wrong_classes_and_boundaries_that_are_off(asked: Round) -> None:
    assert asked.answer(wrong_class=1.0, boundary_noise_px=1.5).wrong_class == 4
    for one in asked.pulled():
        share_off = (asked.decoded(one) != asked.true(one)).mean()
        assert 0 < share_off < 0.5


@pytest.mark.services
def test_the_same_seed_gives_the_same_answers(
    label_studio: Server, annotator: LabelStudio, make_items: MakeItems, tmp_path: Path
) -> None:
    results = []
    for number, seed in enumerate((1, 1, 2)):
        project = annotator.create_project(owner_of(f"seeds{number}"), f"seeds {number}", CLASSES)
        asked = Round(label_studio, project, make_items(3), tmp_path / "truth")
        asked.answer(seed=seed, boundary_noise_px=1.0, wrong_class=0.5, skip=0.3)
        results.append([(one.lead_time_s, one.result) for one in asked.pulled()])
    assert results[0] == results[1]
    assert results[0] != results[2]


def test_people_err_at_the_rates_given() -> None:
    rates = {"skip": 0.3, "double_submit": 0.2, "edit_after_submit": 0.15, "undecodable": 0.1}
    person = Behaviour(**rates)
    kinds = [person.kind(np.random.default_rng(seed)) for seed in range(2000)]
    shares = {kind: kinds.count(kind) / len(kinds) for kind in (*rates, "plain")}
    assert shares == pytest.approx(rates | {"plain": 0.25}, abs=0.03)


@pytest.mark.services
def test_running_answers_what_comes_until_told_to_stop(asked: Round, title: str) -> None:
    later = [replace(item, item_id=item.item_id.replace("/r0", "/r1")) for item in asked.items[:2]]
    passes: list[tuple[str, AnswerSummary]] = []

    def until() -> bool:
        if len(passes) == 1:
            asked.loop.push(
                asked.project, later, model_version="day-r1", on_progress=lambda *n: None
            )
        return len(passes) == 2

    total = asked.person().run(
        until,
        projects=lambda: [asked.project.project_id],
        pause_s=0.05,
        on_answers=lambda where, summary: passes.append((where, summary)),
    )
    assert passes == [(title, AnswerSummary(corrected=4)), (title, AnswerSummary(corrected=2))]
    assert total == AnswerSummary(corrected=6)


def test_a_tool_too_busy_to_answer_ends_no_watch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = SimulatedAnnotator("http://127.0.0.1:1", "0" * 40, tmp_path)
    failures: list[ServiceError] = []
    summaries = iter([None, AnswerSummary()])

    def busy_once(project_id: int) -> AnswerSummary:
        summary = next(summaries)
        if summary is None:
            raise ServiceError("did not answer in time")
        return summary

    def run(**options: Any) -> AnswerSummary:
        passes = iter([False, False, False, False])
        until = lambda: next(passes, True)  # noqa: E731
        return person.run(until, projects=lambda: [1], pause_s=0, **options)

    monkeypatch.setattr(person, "answer", busy_once)
    assert run(on_failure=failures.append) == AnswerSummary()
    assert [str(error) for error in failures] == ["did not answer in time"]
    assert next(summaries, "answered") == "answered"
    summaries = iter([None])
    with pytest.raises(ServiceError, match="in time"):
        run()


@pytest.mark.services
def test_without_the_truth_it_says_where_it_looked(asked: Round, tmp_path: Path) -> None:
    person = SimulatedAnnotator(asked.server.url, asked.server.token, tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"no true mask of day/0000[\s\S]*elsewhere/day/masks"):
        person.answer(asked.project.project_id)


@pytest.mark.parametrize("place", ["day/a.png", "day/masks/a.png", "masks/a.png", "a.png"])
def test_where_the_truth_may_lie(tmp_path: Path, place: str) -> None:
    save_mask(tmp_path / place, np.zeros((2, 2), dtype=np.uint8))
    person = SimulatedAnnotator("http://127.0.0.1:1", "0" * 40, tmp_path)
    assert person._truth_file("day/a") == tmp_path / place


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"skip": 1.2}, "skip = 1.2: expected a share"),
        ({"wrong_class": -0.1}, "wrong_class"),
        ({"skip": 0.6, "undecodable": 0.6}, "exceed 1"),
        ({"boundary_noise_px": -1.0}, "boundary_noise_px = -1.0: expected >= 0"),
        ({"seed": -1}, "seed"),
    ],
)
def test_behaviour_out_of_range_is_refused(values: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        Behaviour(**values)
