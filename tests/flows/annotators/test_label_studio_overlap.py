"""Two people of a real Label Studio: who gets a task, and what both said."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from flows.annotators.annotator import Project
from flows.annotators.label_studio import LabelStudio
from flows.annotators.label_studio_project import DISAGREEMENTS_TAB, DONE_TAB, RETURNED_TAB
from tests.flows.annotators.conftest import MakeItems, answer, next_task, pull, push
from tests.support.label_studio_server import Server

pytestmark = pytest.mark.programs

SECOND = "second@example.com"


@pytest.fixture(scope="session")
def second_person(label_studio: Server) -> LabelStudio:
    """Somebody who signed up by the invitation's link."""
    with label_studio.client() as owner:
        invitation = owner.get("/api/invite").json()["invite_url"]
    with httpx.Client(base_url=label_studio.url, timeout=60, trust_env=False) as browser:
        page = browser.get(invitation, follow_redirects=True)
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        assert token is not None
        form = {
            "csrfmiddlewaretoken": token[1],
            "email": SECOND,
            "password": "Another-pass-2",
            "allow_newsletters": "false",
        }
        browser.post(str(page.url), data=form, headers={"Referer": str(page.url)})
        found: dict[str, Any] = browser.get("/api/current-user/token").json()
    return LabelStudio(label_studio.url, found["token"])


def test_a_second_person_gets_the_task_that_two_are_asked_for_and_no_other(
    annotator: LabelStudio, second_person: LabelStudio, project: Project, make_items: MakeItems
) -> None:
    tasks = push(annotator, project, make_items(3))
    twice = tasks[2]
    annotator.ask_two([twice.task_id])
    for task in tasks:
        answer(annotator, task)
    assert annotator.http.get_or_none(f"/api/projects/{project.project_id}/next") is None
    offered = next_task(second_person, project)
    assert offered["id"] == twice.task_id
    answer(second_person, twice)
    assert second_person.http.get_or_none(f"/api/projects/{project.project_id}/next") is None
    given = [one for one in pull(annotator, project) if one.task_id == twice.task_id]
    assert {one.annotator for one in given} == {annotator_email(annotator), SECOND}


def annotator_email(annotator: LabelStudio) -> str:
    found: str = annotator.http.get("/api/current-user/whoami")["email"]
    return found


def test_a_starred_answer_comes_starred(
    annotator: LabelStudio, project: Project, make_items: MakeItems
) -> None:
    (task,) = push(annotator, project, make_items(1))
    made = answer(annotator, task)
    annotator.http.patch(f"/api/annotations/{made['id']}/", {"ground_truth": True})
    assert [one.ground_truth for one in pull(annotator, project)] == [True]


def test_the_projects_tabs_show_what_differs_and_what_is_done(
    annotator: LabelStudio, project: Project, make_items: MakeItems
) -> None:
    tasks = push(annotator, project, make_items(3))
    answer(annotator, tasks[0])
    there = {task.task_id: task for task in annotator.tasks(project)}
    annotator.note(there[tasks[1].task_id], {"disagreement": "yes"})
    views = annotator.http.get("/api/dm/views/", project=project.project_id)
    by_title = {view["data"]["title"]: view["id"] for view in views}

    def shown(title: str) -> list[int]:
        listed = annotator.http.get("/api/tasks", view=by_title[title], fields="all")
        return [row["id"] for row in listed["tasks"]]

    assert shown(DISAGREEMENTS_TAB) == [tasks[1].task_id]
    assert shown(DONE_TAB) == [tasks[0].task_id]
    assert shown(RETURNED_TAB) == []
