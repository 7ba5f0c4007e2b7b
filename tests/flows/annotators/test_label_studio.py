"""The adapter against a real Label Studio: projects, tokens, the webhook."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flows.annotators import ANNOTATORS
from flows.annotators.annotator import Annotator, Project
from flows.annotators.label_studio import LabelStudio, fit_title
from flows.annotators.label_studio_project import (
    DISAGREEMENTS_TAB,
    DONE_TAB,
    RETURNED_TAB,
    REVIEW_TAB,
    SAMPLING,
    TAB,
)
from pipeline.errors import ServiceError
from tests.flows.annotators.conftest import CLASSES, MakeItems, answer, owner_of, pull, push
from tests.support.label_studio_server import Server

pytestmark = pytest.mark.services


def test_the_table_gives_an_annotator_for_an_address_and_a_token(label_studio: Server) -> None:
    annotator: Annotator = ANNOTATORS["label_studio"](label_studio.url, label_studio.token)
    owner = owner_of("from the table")
    assert annotator.create_project(owner, "from the table", CLASSES).project_id > 0


def test_a_project_says_whose_it_is_and_what_annotators_need(
    annotator: LabelStudio, project: Project, title: str, label_studio: Server
) -> None:
    another = LabelStudio(label_studio.url + "/", label_studio.token)
    assert another.open_project(project.project_id, CLASSES) == project
    assert project.owner == owner_of(title)
    made = annotator.http.get(f"/api/projects/{project.project_id}/")
    assert made["sampling"] == SAMPLING
    assert made["maximum_annotations"] == 1
    assert made["show_instruction"]
    assert "eraser" in made["expert_instruction"]
    labels = made["parsed_label_config"]["label"]
    assert labels["labels"] == [*CLASSES, "unknown"]
    assert (
        len({label["background"] for label in labels["labels_attrs"].values()}) == len(CLASSES) + 1
    )
    tabs = annotator.http.get("/api/dm/views/", project=project.project_id)
    titles = [TAB, REVIEW_TAB, DISAGREEMENTS_TAB, RETURNED_TAB, DONE_TAB]
    assert [tab["data"]["title"] for tab in tabs] == titles


def test_other_classes_in_a_project_that_exists_are_refused(
    annotator: LabelStudio, project: Project
) -> None:
    with pytest.raises(ServiceError, match="masks would be read wrongly"):
        annotator.open_project(project.project_id, CLASSES[::-1])


def test_a_project_is_found_by_what_it_says_whatever_its_title(
    annotator: LabelStudio, title: str
) -> None:
    owner = owner_of(title)
    assert annotator.find_projects(owner) == []
    made = annotator.create_project(owner, f"  {title} ", CLASSES)
    twin = annotator.create_project(owner_of(f"{title}-b"), title, CLASSES)
    assert made.title == title  # as the server keeps it
    assert annotator.find_projects(owner) == [made]
    path = f"/api/projects/{made.project_id}/"
    annotator.http.patch(path, {"title": "renamed by hand"})
    assert annotator.find_projects(owner) == [replace(made, title="renamed by hand")]
    annotator.http.patch(path, {"description": "Our streets.\nDo not delete."})
    unmarked = annotator.open_project(made.project_id, CLASSES)
    assert unmarked is not None
    assert unmarked.owner is None
    assert annotator.claim_project(unmarked, owner).owner == owner
    assert annotator.http.get(path)["description"].startswith("Our streets.\nDo not delete.")
    annotator.http.delete(path)
    assert annotator.open_project(made.project_id, CLASSES) is None
    assert twin.project_id != made.project_id


def test_a_title_too_long_or_too_short_is_fitted(annotator: LabelStudio) -> None:
    long = "ssl-loop: a workspace with quite a long name / " + "domain" * 5
    made = annotator.create_project(owner_of("long"), long, CLASSES)
    assert made.title == fit_title(long)
    assert annotator.open_project(made.project_id, CLASSES) == made
    assert fit_title(long + "x") != made.title
    assert annotator.create_project(owner_of("ab"), "ab", CLASSES).title == fit_title("ab")


def test_a_personal_access_token_does_all_of_it(
    label_studio: Server, make_items: MakeItems
) -> None:
    with label_studio.client() as client:
        personal = client.post("/api/token/").json()["token"]
    annotator = LabelStudio(label_studio.url, personal)
    project = annotator.create_project(owner_of("pat"), "by personal token", CLASSES)
    (task,) = push(annotator, project, make_items(1))
    answer(annotator, task)
    annotator.http.client.auth._renew_at = 0.0  # type: ignore[union-attr]
    annotator.http.client.auth._access = "expired"  # type: ignore[union-attr]
    assert len(pull(annotator, project)) == 1


def test_the_webhook_is_made_once_and_brought_up_to_date(
    annotator: LabelStudio, project: Project
) -> None:
    url = "http://127.0.0.1:9/hook"
    annotator.ensure_webhook(project, "http://127.0.0.1:9/another", {})
    for secret in ("one", "one", "two"):
        annotator.ensure_webhook(project, url, {"X-Hook-Secret": secret})
    hooks = annotator.http.get("/api/webhooks/", project=project.project_id)
    assert [hook["url"] for hook in hooks] == ["http://127.0.0.1:9/another", url]
    hooks.reverse()
    assert hooks[0]["headers"] == {"X-Hook-Secret": "two"}
    assert "ANNOTATION_UPDATED" in hooks[0]["actions"]


def test_hooks_at_old_addresses_do_not_keep_the_secret(
    annotator: LabelStudio, project: Project, title: str
) -> None:
    another = annotator.create_project(owner_of(f"{title} another"), title, CLASSES)
    elsewhere = "http://127.0.0.1:9/of-somebody-else"
    annotator.ensure_webhook(project, elsewhere, {"X-Another": "theirs"})
    annotator.ensure_webhook(another, "http://127.0.0.1:8089/hook", {"X-Hook-Secret": "s"})
    for port in (8089, 8090, 8091):
        url = f"http://127.0.0.1:{port}/hook"
        annotator.ensure_webhook(project, url, {"X-Hook-Secret": f"at {port}"})

    def urls(of: Project) -> list[str]:
        return [hook["url"] for hook in annotator.http.get("/api/webhooks/", project=of.project_id)]

    assert urls(project) == [elsewhere, "http://127.0.0.1:8091/hook"]
    assert urls(another) == ["http://127.0.0.1:8089/hook"]
