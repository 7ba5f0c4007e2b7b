"""The hook by which Label Studio says that something changed in a project."""

from __future__ import annotations

from collections.abc import Mapping

from flows.annotators.label_studio_http import Http, expect, expect_list, expect_or_none
from pipeline.errors import ServiceError

ACTIONS = (
    "ANNOTATION_CREATED",
    "ANNOTATIONS_CREATED",
    "ANNOTATION_UPDATED",
    "ANNOTATIONS_DELETED",
    "TASKS_DELETED",
)


def ensure_hook(http: Http, project_id: int, url: str, secret_header: Mapping[str, str]) -> None:
    """One hook of ours at `url` in the project; safe to call again. ServiceError where refused.

    Label Studio calls it once, within 1 s, and never again: only a hint. A hook of ours at another
    address is removed: who listens there now would be told the secret.
    """
    wanted = {
        "url": url,
        "headers": dict(secret_header),
        "actions": sorted(ACTIONS),
        "send_payload": False,
        "send_for_all_actions": False,
        "is_active": True,
    }
    listed = http.get("/api/webhooks/", project=project_id)
    hooks = [(expect(hook, "url", str), hook) for hook in expect_list(listed, None, dict)]
    for there, hook in hooks:
        headers = expect_or_none(hook, "headers", dict) or {}
        if there != url and secret_header.keys() & headers.keys():
            http.delete(f"/api/webhooks/{expect(hook, 'id', int)}/")
    for there, hook in hooks:
        if there != url:
            continue
        actions = sorted(expect_list(hook, "actions", str))
        if {**hook, "actions": actions} != hook | wanted:
            http.patch(f"/api/webhooks/{expect(hook, 'id', int)}/", wanted)
        return
    try:
        http.post("/api/webhooks/", {**wanted, "project": project_id})
    except ServiceError as error:
        if "reserved network address" not in str(error):
            raise
        raise ServiceError(
            f"{error}. Start Label Studio with LABEL_STUDIO_USE_DEFAULT_BANNED_SUBNETS=false "
            "to let it call a receiver on this machine or a private network"
        ) from None
