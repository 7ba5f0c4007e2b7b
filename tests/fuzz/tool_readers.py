"""What the annotation tool says: its answers to every request of the loop, hooks, masks, tokens."""

from __future__ import annotations

import base64
import copy
import functools
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from flows.annotators import brush_rle, label_studio_http
from flows.annotators.annotator import Owner, Project, PushItem, ToolTask
from flows.annotators.assist.prompts import read_prompts
from flows.annotators.label_studio import LabelStudio
from flows.annotators.label_studio_project import description, label_config
from flows.annotators.masks import decode_annotation, encode_result
from flows.annotators.tools.bitmask import PREFIX
from flows.services.webhook import ids_of
from pipeline.errors import SslLoopError
from tests.fuzz.reader import Reader, json_of

CLASSES = ("a", "b")
OWNER = Owner(workspace_id="0123456789ab", domain="day")
PROJECT = Project(project_id=1, url="http://tool/projects/1/data", title="day", owner=OWNER)
HOOK, SECRET = "http://127.0.0.1:8089/label-studio", {"X-Secret": "s"}


def _annotation(path: Path) -> Any:
    sent = _loaded(path)
    before = json.loads(_regions()[0])
    return [
        decode_annotation(a, b, ("a", "b"), size=(4, 6), background=background)
        for a, b in ((sent, before), (before, sent))
        for background in (None, "b")
    ]


def _loaded(path: Path) -> Any:
    """As the tool's answer reaches us; nothing where it is no JSON at all."""
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return []


_ASKED = {"to_name": "image", "original_width": 6, "original_height": 4}
_CLICKED = [
    {**_ASKED, "id": "c", "type": kind, "from_name": name, "is_positive": True}
    | {"value": {"x": 20.5, "y": 40, "width": 0.3, "labels": ["a"]}}
    for kind, name in (("keypoint", "click_point"), ("labels", "label"))
]
_BOXED = [
    {**_ASKED, "id": "b", "type": "rectangle", "from_name": "click_box"}
    | {"value": {"x": 20.5, "y": 40, "width": 30, "height": 50, "rotation": 0}}
]


@functools.cache
def _regions() -> list[bytes]:
    mask_HW = np.array([[0, 0, 1, 1, 1, 255]] * 4, dtype=np.uint8)
    return [json.dumps(encode_result(mask_HW, ("a", "b"), "x")).encode()]


@functools.cache
def _drawn() -> list[bytes]:
    """What every tool leaves, each with its label, in one answer."""
    return [json.dumps([*json.loads(_regions()[0]), *map(_labelled, _SHAPES)]).encode()]


def _labelled(value: dict[str, Any]) -> dict[str, Any]:
    ours = {"from_name": "label", "to_name": "image", "type": "labels", "id": str(len(value))}
    sizes = {"original_width": 6, "original_height": 4, "image_rotation": 0}
    return {**ours, **sizes, "origin": "manual", "value": {**value, "labels": ["a"]}}


def _png() -> str:
    content = io.BytesIO()
    Image.new("RGBA", (6, 4)).save(content, "PNG")
    return PREFIX + base64.b64encode(content.getvalue()).decode()


_SHAPES: list[dict[str, Any]] = [
    {"x": 10.0, "y": 20.5, "width": 50, "height": 30, "rotation": 12.5},
    {"x": 50, "y": 50, "radiusX": 20.0, "radiusY": 10, "rotation": 0},
    {"points": [[10, 10], [90.5, 20], [40, 80]], "closed": True},
    {"imageDataURL": _png()},
]


def _brush(path: Path) -> Any:
    sent = _loaded(path)
    return brush_rle.decode(sent if isinstance(sent, list) else list(path.read_bytes()), 4, 6)


def _annotation_of(number: int) -> dict[str, Any]:
    moment = "2026-01-01T00:00:00.000000Z"
    return {
        "id": number,
        "result": json.loads(_regions()[0]),
        "completed_by": 1,
        "created_username": " a@b.c, 1",
        "was_cancelled": False,
        "ground_truth": False,
        "created_at": moment,
        "updated_at": moment,
        "lead_time": 3.5,
    }


def _replies() -> dict[str, Any]:
    """What a healthy server says to each request, by method and path."""
    row = {"id": 1, "title": "day", "description": description(OWNER)}
    row |= {"label_config": label_config(CLASSES), "task_number": 1}
    data = {"item_id": "day/a/r0", "workspace": OWNER.workspace_id, "image": "/data/upload/a.png"}
    task = {"id": 1, "data": data, "annotations": [_annotation_of(1)]}
    result = json.loads(_regions()[0])
    hook = {"id": 1, "url": HOOK, "headers": SECRET, "actions": ["TASKS_DELETED"]}
    return {
        "GET /api/projects/": {"next": None, "results": [row]},
        "POST /api/projects/": row,
        "GET /api/projects/1/": row,
        "PATCH /api/projects/1/": row,
        "POST /api/dm/views/": {"id": 1},
        "GET /api/tasks": {"tasks": [task], "total": 1},
        "PATCH /api/tasks/1/": task,
        "POST /api/tasks/1/annotations/": _annotation_of(2),
        "GET /api/predictions/": [{"id": 1, "model_version": "day/r0", "result": result}],
        "GET /data/upload/a.png": {},
        "GET /api/webhooks/": [{**hook, "id": 2, "url": "http://127.0.0.1:1/x"}, hook],
        "PATCH /api/webhooks/1/": hook,
        "DELETE /api/webhooks/2/": {},
    }


def _first_push() -> dict[str, Any]:
    """As `_replies` of a server that has no task yet and no hook."""
    return {
        **_replies(),
        "GET /api/projects/1/": {**_replies()["GET /api/projects/1/"], "task_number": 0},
        "GET /api/tasks": {"tasks": [], "total": 0},
        "POST /api/projects/1/import": {"task_count": 1},
        "POST /api/projects/1/import?": {"file_upload_ids": [1]},
        "GET /api/projects/1/file-uploads": [{"id": 1, "file": "upload/1/a.png"}],
        "GET /api/webhooks/": [],
        "POST /api/webhooks/": {"id": 1},
    }


@functools.cache
def _tool() -> LabelStudio:
    return LabelStudio("http://tool", "0" * 40)  # certificates are loaded, which takes its time


def _served(path: Path) -> Any:
    """Every request of the loop, answered by what the file says; the last refusal of all."""
    tool = copy.copy(_tool())
    transport = httpx.MockTransport(_server(path.read_bytes()))
    with httpx.Client(base_url="http://tool", transport=transport, trust_env=False) as client:
        tool.http.client = client
        refused, found = None, []
        for request in _requests(tool, path.with_name("sent.png")):
            try:
                found.append(request())
            except SslLoopError as error:
                refused = error
        if refused is not None:
            raise refused
        return found


def _server(raw: bytes) -> Callable[[httpx.Request], httpx.Response]:
    """Replies by request where the file has them; its bytes, as they are, to all others."""
    try:
        replies = json.loads(raw)
    except (ValueError, RecursionError):
        replies = None

    def answer(request: httpx.Request) -> httpx.Response:
        key = f"{request.method} {request.url.path}"
        upload = request.headers.get("Content-Type", "").startswith("multipart/")
        reply = replies.get(f"{key}?" if upload else key, raw) if type(replies) is dict else raw
        content = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
        return httpx.Response(200, content=content)

    return answer


def _requests(tool: LabelStudio, image: Path) -> list[Callable[[], Any]]:
    if not image.exists():
        Image.new("RGB", (6, 4)).save(image)
    item = PushItem(
        item_id="day/a/r0",
        sample_id="day/a",
        image=image,
        image_sha256="0",
        workspace_id=OWNER.workspace_id,
        uncertainty=0.5,
        reason="why",
        pre_annotation_HW=np.zeros((4, 6), dtype=np.uint8),
        background="b",
    )
    task = ToolTask(task_id=1, data={"image": "/data/upload/a.png"})
    given = {"result": [], "was_cancelled": False, "lead_time": 1.0, "ground_truth": False}
    return [
        lambda: tool.find_projects(OWNER),
        lambda: tool.open_project(1, CLASSES),
        lambda: tool.create_project(OWNER, "day", CLASSES),
        lambda: tool.claim_project(PROJECT, OWNER),
        lambda: tool.push(
            PROJECT, [item], model_version="day/r0", on_progress=lambda done, total: None
        ),
        lambda: [(tool.image(one), tool.note(one, {"x": "y"})) for one in tool.tasks(PROJECT)],
        lambda: [a.updated_at for a in tool.pull(PROJECT, [1]).annotations],
        lambda: tool.image(task),
        lambda: tool.annotate(1, given),
        lambda: tool.ensure_webhook(PROJECT, HOOK, SECRET),
        lambda: tool.ensure_assist(PROJECT, "http://127.0.0.1:8090", "secret"),
        lambda: tool.ensure_assist(PROJECT, None, "secret"),
    ]


READERS = {
    reader.name: reader
    for reader in (
        Reader(
            name="answers of Label Studio",
            named=None,
            valid=lambda: json_of(_replies(), _first_push())(),
            read=_served,
        ),
        Reader(
            name="brush mask",
            named=None,
            valid=lambda: [json.dumps(json.loads(_regions()[0])[0]["value"]["rle"]).encode()],
            read=_brush,
        ),
        Reader(
            name="annotation",
            named=None,
            valid=lambda: [*_regions(), *_drawn()],
            read=_annotation,
        ),
        Reader(
            name="clicks",
            named=None,
            valid=lambda: [json.dumps([*boxed, *_CLICKED]).encode() for boxed in ([], _BOXED)],
            read=lambda path: read_prompts(_loaded(path), ("a", "b")),
        ),
        Reader(
            name="token",
            named=None,
            valid=lambda: [b"a.eyJleHAiOiAxfQ.c"],
            read=lambda path: label_studio_http._claims(path.read_bytes().decode("latin-1")),
        ),
        Reader(
            name="hook",
            named=None,
            valid=json_of(
                {"action": "ANNOTATION_CREATED", "project": {"id": 1}, "task": {"id": 2}}
            ),
            read=lambda path: ids_of(path.read_bytes()),
        ),
    )
}
