"""Push: what was tagged goes to the remotes, tag by tag; a failure is the next tick's to mend.

`dvc push --all-tags` would not do: it takes a tag's own configuration, and skips with exit code 0
every tag that is older than the remote. So each tag is checked out, without its data, into a small
clone that is lent today's remotes and this workspace's cache.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from db.repository import events
from db.session import session_scope
from flows.loop import Loop
from flows.processes.command import run
from flows.versions.pushes import FAILED, PUSHED, note
from flows.workspace.dvc.dvc_cache import Cache, Out, cache_of, outs_at
from flows.workspace.dvc.dvc_config import effective, lend_storage
from flows.workspace.remote import NAME, redacted, remote
from pipeline import layout
from pipeline.errors import WorkspaceError

# What was sent stays sent, so a long upload goes on with the next tick; a round must not wait.
LIMIT_S = 900.0
TREE = layout.PRIVATE / "push-tree"


class _LostError(WorkspaceError):
    """Files of a tag are nowhere any more."""


def push(loop: Loop, tags: list[str]) -> None:
    """Send data and history of `tags`; WorkspaceError with all that failed, the rest is sent."""
    to = remote(loop.workspace)
    failed = _failed_data(loop, to.data, tags) if to.data else {}
    if to.git:
        try:
            _push_history(loop, tags)
        except WorkspaceError as error:
            failed |= {tag: redacted(str(error)) for tag in tags if tag not in failed}
    sent = [tag for tag in tags if tag not in failed]
    for tag in sent:
        note(loop, PUSHED, to, tag)
    if sent:
        loop.log(f"pushed {', '.join(sent)}")
    for tag, why in failed.items():
        note(loop, FAILED, to, tag, why=why)
    if failed:
        raise WorkspaceError("\n".join(dict.fromkeys(failed.values())))


def _failed_data(loop: Loop, url: str, tags: list[str]) -> dict[str, str]:
    """`tag -> why not` after sending the data of all tags, but for those that it holds up."""
    cache, until = cache_of(loop.workspace), time.monotonic() + LIMIT_S
    failed: dict[str, str] = {}
    for place, tag in enumerate(tags):
        try:
            _push_data(loop, url, tag, cache)
        except _LostError as error:  # of this tag alone
            failed[tag] = str(error)
        except WorkspaceError as error:  # of the remote: a round must not wait once per tag
            return failed | {left: redacted(str(error)) for left in tags[place:]}
        if time.monotonic() > until:
            left = tags[place + 1 :]
            return failed | dict.fromkeys(left, f"no time left after {LIMIT_S:.0f} s")
    return failed


def _push_data(loop: Loop, url: str, tag: str, cache: Cache) -> None:
    tree = loop.root / TREE
    _require_mounted(loop, url)
    outs = [out for out in outs_at(loop.workspace.git, tag) if not out.remade]
    shutil.rmtree(tree, ignore_errors=True)
    try:
        _bare_tree(loop.root, tree, tag, cache)
        _complete(tree, tag, outs, cache)
        run(["dvc", "push", "--remote", NAME], cwd=tree, limit_s=LIMIT_S)
    finally:
        shutil.rmtree(tree, ignore_errors=True)


def _complete(tree: Path, tag: str, outs: list[Out], cache: Cache) -> None:
    """WorkspaceError unless the cache holds all of a tag, once what the remote has is fetched.

    DVC itself would warn, send the rest and call it a success. A workspace that was cloned lacks
    what older tags hold; the remote has it.
    """
    why = ""
    if cache.missing(outs):
        try:
            run(["dvc", "fetch", "--remote", NAME], cwd=tree, limit_s=LIMIT_S)
        except WorkspaceError as error:  # also for what is never pushed
            why = f"\n{error}"
    if missing := cache.missing(outs):
        raise _LostError(
            f"{tag}: {len(missing)} file(s) are in neither DVC's cache nor the remote, so they "
            f"cannot be pushed: {', '.join(missing[:5])}{redacted(why)}"
        )


def _bare_tree(root: Path, tree: Path, tag: str, cache: Cache) -> None:
    """A clone at `tag` without data, lent the remotes and the cache of the workspace at `root`."""
    clone = ["git", "clone", "--quiet", "--no-checkout", "--no-tags", str(root), str(tree)]
    run(clone, cwd=root)
    commit = run(["git", "rev-parse", f"{tag}^{{commit}}"], cwd=root).decode().strip()
    run(["git", "checkout", "--quiet", "--detach", commit], cwd=tree)
    lend_storage(effective(root), tree, cache=cache.folder)


def _require_mounted(loop: Loop, url: str) -> None:
    """DVC makes a folder that is not there: on the wrong disk when the right one is unplugged."""
    if "://" in url:
        return
    to = remote(loop.workspace)
    with session_scope(loop.ledger, read_only=True) as session:
        begun = any(event.detail.get("data") == to.data for event in events(session, kind=PUSHED))
    if not Path(url).is_dir() or (begun and not (Path(url) / "files").is_dir()):
        raise WorkspaceError(f"{url}: what was pushed is not there; is its disk mounted?")


def _push_history(loop: Loop, tags: list[str]) -> None:
    refs = [f"refs/heads/{loop.read_params().loop.branch}", *(f"refs/tags/{tag}" for tag in tags)]
    run(["git", "push", "--quiet", NAME, *refs], cwd=loop.root, limit_s=LIMIT_S)
