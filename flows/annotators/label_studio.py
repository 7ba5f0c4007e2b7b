"""Label Studio as the annotation tool: tasks in, annotations out, nothing twice.

A task is named by what it carries: `data.item_id`, `data.workspace` and the image's hash. Label
Studio's own numbers are given out again after deletions and restored backups, it takes the same
task twice without a word, and a request that broke may have been carried out (measured: killed
while importing 400 tasks, all or none were there), so everything is looked up before it is sent.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from flows.annotators.annotator import (
    OnProgress,
    Owner,
    Project,
    Pulled,
    PulledAnnotation,
    PushedTask,
    PushItem,
    ToolTask,
)
from flows.annotators.assist.label_studio_connection import connect_assist
from flows.annotators.label_studio_answers import pulled_annotation, tool_task
from flows.annotators.label_studio_hook import ensure_hook
from flows.annotators.label_studio_http import (
    BodyTooLargeError,
    Http,
    ToolServerError,
    expect,
    expect_list,
    expect_or_none,
)
from flows.annotators.label_studio_project import (
    MAX_TITLE,
    MIN_TITLE,
    check_classes,
    config_classes,
    config_kind,
    create_project,
    description,
    owner_in,
    suit_background,
)
from flows.annotators.label_studio_tasks import Upload, batches, prepare
from flows.annotators.masks import TO_NAME
from pipeline.errors import ServiceError

T = TypeVar("T")

PAGE = 500  # tasks per answer of the list without masks: 0.2 s
MAX_ID_CHARACTERS, MAX_IDS = 2000, 50  # of item ids in one URL; proxies cut at 8 kB, encoded
# Of a task and its annotations, skips too (which /api/tasks/N/annotations leaves out); predictions
# are left out, since they are as big as the masks.
_PULLED_FIELDS = (
    "id,annotations,result,completed_by,created_username,was_cancelled,ground_truth,created_at,"
    "updated_at,lead_time,parent_prediction,task,project"
)
_PROJECT_FIELDS = "id,title,description,label_config"


class LabelStudio:
    """One server and one account; implements `flows.annotators.annotator.Annotator`."""

    def __init__(self, url: str, api_key: str) -> None:
        """`api_key` is a legacy token or a personal access token. Nothing is asked yet."""
        self.http = Http(url, api_key)

    def find_projects(self, owner: Owner) -> list[Project]:
        """As the protocol says."""
        found = [self._project(row) for row in self._all_projects()]
        return sorted((p for p in found if p.owner == owner), key=lambda p: p.project_id)

    def open_project(self, project_id: int, class_names: Sequence[str]) -> Project | None:
        """As the protocol says."""
        row = self.http.get_or_none(f"/api/projects/{project_id}/")
        if row is None:
            return None
        project = self._project(row)
        check_classes(project.title, project.url, expect(row, "label_config", str), class_names)
        return project

    def create_project(
        self, owner: Owner, title: str, class_names: Sequence[str], *, brush_only: bool = False
    ) -> Project:
        """As the protocol says; longer titles than Label Studio takes end in a hash."""
        title = fit_title(title)
        project_id = create_project(self.http, title, class_names, owner, brush_only=brush_only)
        return Project(project_id=project_id, url=self._page(project_id), title=title, owner=owner)

    def claim_project(self, project: Project, owner: Owner) -> Project:
        """As the protocol says, in the project's description."""
        path = f"/api/projects/{project.project_id}/"
        before = expect_or_none(self.http.get(path), "description", str) or ""
        return self._project(self.http.patch(path, {"description": description(owner, before)}))

    def push(
        self,
        project: Project,
        items: Sequence[PushItem],
        *,
        model_version: str,
        on_progress: OnProgress,
    ) -> list[PushedTask]:
        """As the protocol says; `model_version` then becomes the project's, which orders tasks."""
        config = self._config(project)
        class_names = config_classes(config)
        outgoing = prepare(items, class_names, model_version, config_kind(config))
        for background in {item.background for item in items}:
            suit_background(self.http, project.project_id, class_names, background)
        done = 0
        for batch in batches(outgoing):
            there = self._tasks_of(project, batch)
            if missing := [one for one in batch if one.item_id not in there]:
                self._import(project, missing)
            done += len(batch)
            on_progress(done, len(outgoing))
        tasks = self._tasks_of(project, outgoing)
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

    def tasks(self, project: Project) -> list[ToolTask]:
        """As the protocol says."""
        path = f"/api/projects/{project.project_id}/"
        for _ in range(2):  # people may import or delete some meanwhile
            found = list(self._listed(project))
            expected = expect(self.http.get(path), "task_number", int)
            if len(found) == expected:
                return found
        raise ServiceError(
            f"{project.url}: Label Studio counts {expected} tasks and lists {len(found)}; its "
            "answer may have been cut off on its way: try again, and look at its log"
        )

    def pull(self, project: Project, task_ids: Sequence[int]) -> Pulled:
        """As the protocol says."""
        found: list[PulledAnnotation] = []
        unreadable: dict[int, str] = {}
        for task_id in task_ids:
            try:
                this = _filter("id", "equal", "Number", task_id)
                rows, _ = self._rows(project, [this], _PULLED_FIELDS, 1)
            except ToolServerError as error:
                if error.status in (502, 503, 504):  # not this task's fault
                    raise
                unreadable[task_id] = str(error)
                continue
            for row in rows:
                found += [
                    pulled_annotation(one, task_id) for one in expect_list(row, "annotations", dict)
                ]
        if unreadable and len(unreadable) == len(task_ids) > 1:
            raise ServiceError(next(iter(unreadable.values())))  # the server's, not the tasks'
        return Pulled(
            annotations=sorted(found, key=lambda one: (one.updated_at, one.annotation_id)),
            unreadable=unreadable,
        )

    def image(self, task: ToolTask) -> bytes:
        """As the protocol says."""
        url = str(task.data.get(TO_NAME) or "")
        return self.http.content(url) if url.startswith("/data/") else b""

    def annotate(self, task_id: int, answer: Mapping[str, Any]) -> PulledAnnotation:
        """As the protocol says; Label Studio gives it a number and times of its own."""
        made = self.http.post(f"/api/tasks/{task_id}/annotations/", dict(answer))
        return pulled_annotation(made, task_id)

    def ask_two(self, task_ids: Sequence[int]) -> None:
        """As the protocol says: without assignment a task stays in everybody's queue until it has
        as many answers as its `overlap`, but for those who answered it."""
        for task_id in task_ids:
            self.http.patch(f"/api/tasks/{task_id}/", {"overlap": 2})

    def note(self, task: ToolTask, changes: Mapping[str, str]) -> None:
        """As the protocol says."""
        self.http.patch(f"/api/tasks/{task.task_id}/", {"data": {**task.data, **changes}})

    def ensure_webhook(self, project: Project, url: str, secret_header: Mapping[str, str]) -> None:
        """As the protocol says."""
        ensure_hook(self.http, project.project_id, url, secret_header)

    def ensure_assist(self, project: Project, url: str | None, password: str) -> None:
        """As the protocol says."""
        connect_assist(self.http, project.project_id, url, password)

    def _all_projects(self) -> list[dict[str, Any]]:
        found: dict[int, dict[str, Any]] = {}
        page = 1
        while True:
            answer = self.http.get(
                "/api/projects/", include=_PROJECT_FIELDS, page=page, page_size=100
            )
            new = {expect(row, "id", int): row for row in expect_list(answer, "results", dict)}
            # One that says for ever that more follow, and gives what it gave.
            if not answer.get("next") or new.keys() <= found.keys():
                return list({**found, **new}.values())
            found |= new
            page += 1

    def _project(self, row: dict[str, Any]) -> Project:
        project_id = expect(row, "id", int)
        return Project(
            project_id=project_id,
            url=self._page(project_id),
            title=expect(row, "title", str),
            owner=owner_in(expect_or_none(row, "description", str) or ""),
        )

    def _config(self, project: Project) -> str:
        row = self.http.get(f"/api/projects/{project.project_id}/")
        return expect(row, "label_config", str)

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

    def _tasks_of(self, project: Project, items: Sequence[Upload]) -> dict[str, int]:
        """Which of the items have a task of their own workspace, and its id; the first of several.

        A request that a proxy repeats makes two; either's answers are collected.
        """
        wanted = {one.item_id: one.item.workspace_id for one in items}
        found: dict[str, int] = {}
        for some in _chunks(list(wanted)):
            chosen = _filter("data.item_id", "in_list", "String", some)
            for task in self._listed(project, [chosen]):
                if wanted.get(task.item_id) == task.workspace_id:
                    found.setdefault(task.item_id, task.task_id)
        return found

    def _pushed(self, item_id: str, task_id: int, model_version: str) -> PushedTask:
        predictions = expect_list(self.http.get("/api/predictions/", task=task_id), None, dict)
        ours = [p for p in predictions if p.get("model_version") == model_version] or predictions
        newest = max(ours, key=lambda prediction: expect(prediction, "id", int), default=None)
        return PushedTask(
            item_id=item_id,
            task_id=task_id,
            prediction_id=int(newest["id"]) if newest else None,
            result=expect_list(newest, "result", dict) if newest else [],
        )

    def _listed(
        self, project: Project, filters: Sequence[dict[str, Any]] = ()
    ) -> Iterator[ToolTask]:
        """Tasks by ascending id with the versions of their annotations, but no masks.

        One that Label Studio cannot give comes with its id alone. Each answer asks for what follows
        the last id, not for a page number, so that nothing is missed while tasks come and go.
        """
        last_id, size = 0, PAGE
        while True:
            wanted = [*filters, _filter("id", "greater", "Number", last_id)]
            try:
                rows, total = self._rows(project, wanted, "id,data,annotations,updated_at", size)
            except ToolServerError:
                if size > 1:
                    size = max(size // 8, 1)  # one task may spoil the answer for all: find it
                    continue
                rows, total = self._rows(project, wanted, "id", 1)
                yield from (ToolTask(task_id=expect(row, "id", int), data={}) for row in rows)
            else:
                yield from map(tool_task, rows)
                size = min(size * 8, PAGE)
            if not rows or total <= len(rows):
                return
            before, last_id = last_id, expect(rows[-1], "id", int)
            if last_id <= before:
                raise ServiceError(
                    f"{project.url}: asked for the tasks after {before}, Label Studio gives "
                    f"{last_id}; is a proxy before it that answers by itself?"
                )

    def _rows(
        self, project: Project, filters: list[dict[str, Any]], include: str, size: int
    ) -> tuple[list[dict[str, Any]], int]:
        answer = self.http.get(
            "/api/tasks",
            project=project.project_id,
            fields="all",
            include=include,
            page_size=size,
            query=json.dumps({"filters": {"conjunction": "and", "items": filters}}),
        )
        return expect_list(answer, "tasks", dict), expect(answer, "total", int)

    def _page(self, project_id: int) -> str:
        return f"{self.http.url}/projects/{project_id}/data"


def fit_title(title: str) -> str:
    """The title as Label Studio keeps it: trimmed, and what is cut or short gets a hash of all."""
    title = title.strip()
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


def _chunks(item_ids: Iterable[str]) -> Iterator[list[str]]:
    """Item ids in pieces that fit a URL."""
    some: list[str] = []
    length = 0
    for item_id in item_ids:
        if some and (length + len(item_id) > MAX_ID_CHARACTERS or len(some) == MAX_IDS):
            yield some
            some, length = [], 0
        some.append(item_id)
        length += len(item_id)
    if some:
        yield some
