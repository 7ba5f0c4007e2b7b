"""Click to mask in a project of Label Studio: its backend connected once, its tools offered.

What Label Studio 1.23.2 does beside what is asked, and what is done about it (docs/assist.md):
connecting makes the backend's title the project's `model_version` where that is empty, by which
tasks are no longer ordered; and it makes a hook without a secret to URL/webhook, which would send
every answer there while its annotator waits.
"""

from __future__ import annotations

from typing import Any

from flows.annotators.label_studio_http import Http, expect, expect_list, expect_or_none
from flows.annotators.label_studio_project import with_smart_tools

TITLE = "Click to mask (ssl-loop)"
USER = "ssl-loop"
TIMEOUT_S = 60
CONNECTED = "CO"


def connect_assist(http: Http, project_id: int, url: str | None, password: str) -> None:
    """One backend of ours at `url` in the project, or none; safe to call again.

    A page that is open goes on by the backend's number, so one that moved keeps it.
    """
    path = f"/api/projects/{project_id}/"
    before = http.get(path)
    listed = expect_list(http.get("/api/ml/", project=project_id), None, dict)
    ours = [row for row in listed if row.get("title") == TITLE]
    kept = ours[0] if ours and url else None
    for row in ours:
        if row is not kept:
            http.delete(f"/api/ml/{expect(row, 'id', int)}")
    if url:
        _connect(http, project_id, url, password, kept)
        config = expect(before, "label_config", str)
        if (wanted := with_smart_tools(config)) != config:
            http.patch(path, {"label_config": wanted})
    _remove_hooks(http, project_id, {str(row.get("url")) for row in ours} | {url or ""})
    version = expect_or_none(before, "model_version", str)
    if expect_or_none(http.get(path), "model_version", str) != version:
        http.patch(path, {"model_version": version})


def _connect(
    http: Http, project_id: int, url: str, password: str, kept: dict[str, Any] | None
) -> None:
    wanted = {
        "url": url,
        "is_interactive": True,
        "auth_method": "BASIC_AUTH",
        "basic_auth_user": USER,
        "timeout": TIMEOUT_S,
    }
    body = {**wanted, "project": project_id, "title": TITLE, "basic_auth_pass": password}
    if kept is None:
        http.post("/api/ml/", body)
    elif {**kept, **wanted} != kept or kept.get("state") != CONNECTED:
        http.patch(f"/api/ml/{expect(kept, 'id', int)}", body)


def _remove_hooks(http: Http, project_id: int, urls: set[str]) -> None:
    made = {f"{url.rstrip('/')}/webhook" for url in urls if url}
    for hook in expect_list(http.get("/api/webhooks/", project=project_id), None, dict):
        if hook.get("url") in made:
            http.delete(f"/api/webhooks/{expect(hook, 'id', int)}/")
