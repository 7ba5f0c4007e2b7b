"""Label Studio as the annotation tool: tasks in, annotations out, nothing twice.

A task's identity is `data.item_id`. Label Studio itself takes the same task twice without a word,
and a request that broke may have been carried out (measured: killed while importing 400 tasks,
all or none were there), so everything is looked up before it is sent.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from flows.annotators.label_studio_http import BodyTooLargeError, Http, expect, expect_list
from flows.annotators.label_studio_project import (
    MAX_TITLE,
    MIN_TITLE,
    check_classes,
    config_classes,
    create_project,
)
from flows.annotators.outgoing import Upload, batches, prepare
from flows.annotators.types import OnProgress, Project, PulledAnnotation, PushedTask, PushItem
from pipeline.errors import ServiceError

T = TypeVar("T")

PAGE = 50  # tasks per answer: masks of 1024x2048 pixels are 0.3 MB each
MAX_ID_CHARACTERS = 2000  # of item ids in one URL; reverse proxies cut at 8 kB, encoded
ACTIONS = (
    "ANNOTATION_CREATED",
    "ANNOTATIONS_CREATED",
    "ANNOTATION_UPDATED",
    "ANNOTATIONS_DELETED",
    "TASKS_DELETED",
)
# Of a task and of its annotations; predictions are left out, they are as big as the masks.
_PULLED_FIELDS = (
    "id,data,annotations,result,completed_by,created_username,was_cancelled,ground_truth,"
    "created_at,updated_at,lead_time,parent_prediction,task,project"
)


class LabelStudio:
    """One server and one account; implements `flows.annotators.types.Annotator`."""

    def __init__(self, url: str, api_key: str) -> None:
        """`api_key` is a legacy token or a personal access token. Nothing is asked yet."""
        self.http = Http(url, api_key)
        self._class_names: dict[int, list[str]] = {}

    def ensure_project(self, title: str, class_names: Sequence[str]) -> Project:
        """As the protocol says; longer titles than Label Studio takes end in a hash."""
        title = fit_title(title)
        found = [p for p in self._projects(title) if p["title"] == title]
        if len(found) > 1:
            raise ServiceError(
                f"Label Studio at {self.http.url} has {len(found)} projects titled {title!r} "
                f"(ids {sorted(p['id'] for p in found)}); rename or delete all but one"
            )
        if found:
            project_id, config = int(found[0]["id"]), found[0]["label_config"]
            check_classes(title, self._page(project_id), config, class_names)
        else:
            project_id = create_project(self.http, title, class_names)
        self._class_names[project_id] = list(class_names)
        return Project(project_id=project_id, url=self._page(project_id), title=title)

    def push(
        self,
        project: Project,
        items: Sequence[PushItem],
        *,
        model_version: str,
        on_progress: OnProgress,
    ) -> list[PushedTask]:
        """As the protocol says; `model_version` then becomes the project's, which orders tasks."""
        outgoing = prepare(items, self._classes(project), model_version)
        done = 0
        for batch in batches(outgoing):
            there = self.find_tasks(project, [one.item_id for one in batch])
            if missing := [one for one in batch if one.item_id not in there]:
                self._import(project, missing)
            done += len(batch)
            on_progress(done, len(outgoing))
        tasks = self.find_tasks(project, [one.item_id for one in outgoing])
        if lost := [one.item_id for one in outgoing if one.item_id not in tasks]:
            raise ServiceError(
                f"{project.url}: {len(lost)} of {len(outgoing)} tasks are not there after sending "
                f"them ({', '.join(lost[:5])}); look at Label Studio's log and try again"
            )
        pushed = [self._pushed(one.item_id, tasks[one.item_id], model_version) for one in outgoing]
        if any(task.prediction_id is not None for task in pushed):
            # Set by Label Studio only at the first import; another version is neither shown nor
            # used for the order.
            self.http.patch(
                f"/api/projects/{project.project_id}/", {"model_version": model_version}
            )
        return pushed

    def find_tasks(self, project: Project, item_ids: Sequence[str]) -> dict[str, int]:
        """As the protocol says."""
        found: dict[str, list[int]] = {}
        for some in _chunks(item_ids):
            wanted = _filter("data.item_id", "in_list", "String", some)
            for task in self._tasks(project, "id,data", [wanted]):
                found.setdefault(task["data"]["item_id"], []).append(int(task["id"]))
        if twice := {item: ids for item, ids in found.items() if len(ids) > 1}:
            named = "; ".join(f"{item}: tasks {ids}" for item, ids in sorted(twice.items())[:10])
            raise ServiceError(
                f"{project.url}: {len(twice)} item(s) have more than one task ({named}); delete "
                "the ones without an annotation in the Data Manager"
            )
        return {item: ids[0] for item, ids in found.items()}

    def pull(self, project: Project, *, since: datetime | None) -> list[PulledAnnotation]:
        """As the protocol says; a task's time moves with every change of its annotations."""
        changed = [] if since is None else [_changed_since(since)]
        pulled = [
            _pulled(annotation, task)
            for task in self._tasks(project, _PULLED_FIELDS, changed, fields="all")
            for annotation in task["annotations"]
        ]
        return sorted(pulled, key=lambda one: (one.updated_at, one.annotation_id))

    def reopen(self, annotation_id: int) -> None:
        """As the protocol says: the annotation is deleted in Label Studio."""
        self.http.delete(f"/api/annotations/{annotation_id}/")

    def ensure_webhook(self, project: Project, url: str, secret_header: Mapping[str, str]) -> None:
        """As the protocol says. It is called once, within 1 s, and never again: only a hint.

        A hook of ours at another address is removed: who listens there now would be told the
        secret.
        """
        wanted = {
            "url": url,
            "headers": dict(secret_header),
            "actions": sorted(ACTIONS),
            "send_payload": False,
            "send_for_all_actions": False,
            "is_active": True,
        }
        hooks = self.http.get("/api/webhooks/", project=project.project_id)
        for hook in hooks:
            if hook["url"] != url and secret_header.keys() & hook["headers"].keys():
                self.http.delete(f"/api/webhooks/{hook['id']}/")
        for hook in hooks:
            if hook["url"] != url:
                continue
            if {**hook, "actions": sorted(hook["actions"])} != hook | wanted:
                self.http.patch(f"/api/webhooks/{hook['id']}/", wanted)
            return
        try:
            self.http.post("/api/webhooks/", {**wanted, "project": project.project_id})
        except ServiceError as error:
            if "reserved network address" not in str(error):
                raise
            raise ServiceError(
                f"{error}. Start Label Studio with LABEL_STUDIO_USE_DEFAULT_BANNED_SUBNETS=false "
                "to let it call a receiver on this machine or a private network"
            ) from None

    def _projects(self, title: str) -> Iterator[dict[str, Any]]:
        page = 1
        while True:
            answer = self.http.get(
                "/api/projects/", title=title, include="id,title,label_config", page=page
            )
            yield from answer["results"]
            if not answer["next"]:
                return
            page += 1

    def _classes(self, project: Project) -> list[str]:
        if project.project_id not in self._class_names:
            config = self.http.get(f"/api/projects/{project.project_id}/")["label_config"]
            self._class_names[project.project_id] = config_classes(config)
        return self._class_names[project.project_id]

    def _import(self, project: Project, items: Sequence[Upload]) -> None:
        def upload(some: Sequence[Upload]) -> list[str]:
            return self._upload(project, some)

        def create(tasks: Sequence[dict[str, Any]]) -> list[None]:
            self.http.post(f"/api/projects/{project.project_id}/import", tasks)
            return []

        urls = _in_pieces(upload, items)
        _in_pieces(create, [one.task(url) for one, url in zip(items, urls, strict=True)])

    def _upload(self, project: Project, items: Sequence[Upload]) -> list[str]:
        """The images' addresses in Label Studio, in the order of the items."""
        base = f"/api/projects/{project.project_id}"
        # At most 100 files a request (more: 500), each under a name of its own (only the last of
        # equal names is taken); ids come in the order sent.
        files = [(str(i), one.file) for i, one in enumerate(items)]
        answer = self.http.upload(f"{base}/import", files, commit_to_project="false")
        ids = expect_list(answer, "file_upload_ids", int)
        listed = expect_list(self.http.get(f"{base}/file-uploads", ids=json.dumps(ids)), None, dict)
        names = {expect(one, "id", int): expect(one, "file", str) for one in listed}
        if len(ids) != len(items) or not names.keys() >= set(ids):
            raise ServiceError(f"{project.url}: {len(ids)} of {len(items)} images were taken")
        return [f"/data/{names[one]}" for one in ids]

    def _pushed(self, item_id: str, task_id: int, model_version: str) -> PushedTask:
        predictions = self.http.get("/api/predictions/", task=task_id)
        ours = [p for p in predictions if p["model_version"] == model_version] or predictions
        newest = max(ours, key=lambda prediction: prediction["id"], default=None)
        return PushedTask(
            item_id=item_id,
            task_id=task_id,
            prediction_id=int(newest["id"]) if newest else None,
            result=newest["result"] if newest else [],
        )

    def _tasks(
        self,
        project: Project,
        include: str,
        filters: list[dict[str, Any]],
        fields: str = "task_only",
    ) -> Iterator[dict[str, Any]]:
        """Tasks by ascending id; each answer asks for what follows the last id, not for a page
        number, so that nothing is missed while tasks come and go."""
        last_id = 0
        while True:
            after = _filter("id", "greater", "Number", last_id)
            query = {"filters": {"conjunction": "and", "items": [*filters, after]}}
            answer = self.http.get(
                "/api/tasks",
                project=project.project_id,
                fields=fields,
                include=include,
                page_size=PAGE,
                query=json.dumps(query),
            )
            yield from answer["tasks"]
            if answer["total"] <= len(answer["tasks"]):
                return
            last_id = answer["tasks"][-1]["id"]

    def _page(self, project_id: int) -> str:
        return f"{self.http.url}/projects/{project_id}/data"


def fit_title(title: str) -> str:
    """The title within Label Studio's limits; what is cut or short gets a hash of the whole."""
    if MIN_TITLE <= len(title) <= MAX_TITLE:
        return title
    digest = hashlib.sha256(title.encode()).hexdigest()[:8]
    return f"{title[: MAX_TITLE - 9]} {digest}"


def _in_pieces(send: Callable[[Sequence[Any]], list[T]], items: Sequence[Any]) -> list[T]:
    """What `send` gives for all items, sent in halves where a request was too large."""
    try:
        return send(items)
    except BodyTooLargeError:
        half = len(items) // 2
        if not half:
            raise
        return [*_in_pieces(send, items[:half]), *_in_pieces(send, items[half:])]


def _filter(column: str, operator: str, kind: str, value: Any) -> dict[str, Any]:
    return {
        "filter": f"filter:tasks:{column}",
        "operator": operator,
        "type": kind,
        "value": value,
    }


def _changed_since(since: datetime) -> dict[str, Any]:
    # Without the fraction Label Studio answers 500.
    moment = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return _filter("updated_at", "greater_or_equal", "Datetime", moment)


def _chunks(item_ids: Iterable[str]) -> Iterator[list[str]]:
    """Item ids in pieces that fit a URL."""
    some: list[str] = []
    length = 0
    for item_id in item_ids:
        if some and (length + len(item_id) > MAX_ID_CHARACTERS or len(some) == PAGE):
            yield some
            some, length = [], 0
        some.append(item_id)
        length += len(item_id)
    if some:
        yield some


def _pulled(annotation: dict[str, Any], task: dict[str, Any]) -> PulledAnnotation:
    lead_time = annotation.get("lead_time")
    return PulledAnnotation(
        annotation_id=int(annotation["id"]),
        task_id=int(task["id"]),
        item_id=str(task["data"].get("item_id", "")),
        annotator=_email(annotation),
        lead_time_s=None if lead_time is None else float(lead_time),
        created_at=datetime.fromisoformat(annotation["created_at"]),
        updated_at=datetime.fromisoformat(annotation["updated_at"]),
        was_cancelled=bool(annotation["was_cancelled"]),
        result=annotation["result"] or [],
        raw=annotation,
    )


def _email(annotation: dict[str, Any]) -> str:
    """Of "First Last name@example.com, 7"; the user's id when there is no e-mail in it."""
    found = re.search(r"(\S+@\S+), \d+$", annotation.get("created_username") or "")
    return found[1] if found else str(annotation.get("completed_by"))
