"""Whether params.yaml still has the class names under which people and data sets painted."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from db.repository import latest_accepted
from db.session import session_scope
from flows.loop import Loop
from flows.workspace.position import ingest_tag, labels_tag, round_tags
from pipeline import layout
from pipeline.data.formats.csv_tables import parse_classes
from pipeline.data.painted_classes import require_same


def require_painted_classes(loop: Loop) -> None:
    """ConfigError where classes were changed in more than what follows them.

    By what HEAD says, whatever lies in the working copy; free to change while nothing is painted.
    """
    params = loop.read_params()
    painted = _painted(loop, params.domains)
    if painted is None or list(params.classes[: len(painted)]) == list(painted):
        return
    samples = loop.workspace.manifest_at("HEAD")
    with session_scope(loop.ledger, read_only=True) as session:
        answered = bool(latest_accepted(session))
    if answered or any(sample.mask for sample in samples):
        require_same(painted, params.classes)


def _painted(loop: Loop, domains: Collection[str]) -> Sequence[str] | None:
    """None before the first domain; by params.yaml as of the last merge in older workspaces."""
    workspace = loop.workspace
    if workspace.exists_at("HEAD", layout.CLASSES):
        return parse_classes(workspace.file_at("HEAD", layout.CLASSES))
    tags = workspace.tags_merged()
    labelled = [labels_tag(domain, k) for domain, k, _ in round_tags(domains, tags)]
    known = [tag for tag in (*map(ingest_tag, domains), *labelled) if tag in tags]
    if not known:
        return None
    last = max(known, key=tags.index)
    names: list[str] = workspace.file_at(last, layout.PARAMS).yaml()["classes"]
    return names
