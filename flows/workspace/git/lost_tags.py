"""Tags that the history speaks of and the repository lacks: a clone without them, a shallow one, a
deleted tag. Where the loop stands is read from tags, so none may be missing unnoticed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NotRequired

from typing_extensions import TypedDict

from flows.workspace.git.commit_owners import history, kept_by_the_loop
from flows.workspace.position import ingest_tag, labels_tag, position, round_tag
from flows.workspace.workspace import Workspace
from pipeline import layout
from pipeline.config.params import Params
from pipeline.errors import WorkspaceError

SOURCE = "source"  # git's name for where a restored workspace came from: its later tags stay there
_STEPS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"Take in domain (\S+):"), lambda found: ingest_tag(found[1])),
    (
        re.compile(r"Take in more of domain (\S+), number (\d+):"),
        lambda found: ingest_tag(found[1], int(found[2])),
    ),
    (re.compile(r"Round (\d+) of (\S+)$"), lambda found: round_tag(found[2], int(found[1]))),
    (re.compile(r"Merge round (\d+) of (\S+):"), lambda found: labels_tag(found[2], int(found[1]))),
)
_SHOWN = 5


class _Params(TypedDict):
    domains: NotRequired[dict[str, Any] | None]


def missing_tags(workspace: Workspace) -> dict[str, str]:
    """`tag -> the commit that it should name`, oldest first, as the loop's own messages say.

    Not the newest step's: a tick that was killed before it tagged will do so.
    """
    paths = kept_by_the_loop(workspace.params().domains)
    steps: dict[str, str] = {}
    for commit in history(workspace, "HEAD", paths):
        for form, name in _STEPS:
            if found := form.match(commit.subject):
                steps.setdefault(name(found), commit.revision)
    merged = set(workspace.tags_merged())
    lost = [tag for tag in list(steps)[1:] if tag not in merged]
    return {tag: steps[tag] for tag in reversed(lost)}


def is_cut(workspace: Workspace) -> bool:
    """Whether the clone is shallow and its history ends before the loop's does."""
    shallow = workspace.git.says("rev-parse", "--is-shallow-repository") == "true"
    merged = workspace.tags_merged()
    return shallow and any(ingest_tag(d) not in merged for d in workspace.params().domains)


def lost_history(workspace: Workspace) -> str:
    """What is missing and how it comes back; "" when nothing is."""
    fetch = f"git fetch --tags {_remote(workspace)}".strip()
    if is_cut(workspace):
        return (
            "this is a shallow clone, and the loop's history and tags are not in it: "
            f"`{fetch.replace('--tags', '--unshallow --tags')}`"
        )
    lost = missing_tags(workspace)
    if not lost:
        return ""
    more = f" and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else ""
    tag, revision = next(iter(lost.items()))
    return (
        f"the tags {', '.join(list(lost)[:_SHOWN])}{more} are missing, by which the loop knows "
        f"what was done: `{fetch}`; where no other repository has them, one by one: "
        f"`git tag -a {tag} -m 'made again' {revision[:12]}`"
    )


def require_tags(workspace: Workspace) -> None:
    """WorkspaceError unless all that the history speaks of is there, and the next tag is free."""
    if lost := lost_history(workspace):
        raise WorkspaceError(f"{workspace.root}: {lost}")
    params = workspace.params()
    merged = workspace.tags_merged()
    here = position(params.domain, merged)
    if here is None:
        return
    tag = here.labels_tag if here.computed else here.tag
    commit = workspace.git.says("rev-parse", "--quiet", "--verify", f"refs/tags/{tag}^{{commit}}")
    if commit is not None:
        branch = params.loop.branch
        raise WorkspaceError(
            f"{workspace.root}: {tag} is there already, at {commit[:12]}, which is not in the "
            f"history of {branch!r}; a round is never done twice. If the branch was moved back: "
            f"`git merge --ff-only {commit[:12]} && dvc checkout`; to go on from an older state: "
            "`ssl-loop restore TAG --into DIR`"
        )


def known_domains(workspace: Workspace, params: Params) -> set[str]:
    """Domains that this repository has, on any branch, wherever HEAD is."""
    branch = params.loop.branch
    found = set(params.domains)
    tags = workspace.git.run("tag", "--list", ingest_tag("*")).decode().split()
    found |= {tag.rpartition("/")[0] for tag in tags}
    if workspace.exists_at(f"refs/heads/{branch}", layout.PARAMS):
        file = workspace.file_at(f"refs/heads/{branch}", layout.PARAMS)
        found |= set(file.typed(file.yaml(), _Params).get("domains") or ())
    return found


def _remote(workspace: Workspace) -> str:
    names = [name for name in workspace.git.run("remote").decode().split() if name != SOURCE]
    return next((name for name in ("backup", "origin") if name in names), names[0] if names else "")
