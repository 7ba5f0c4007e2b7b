"""What git and DVC keep: tags agree with themselves, can be restored, and the working copy is
HEAD's."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flows.steps.reproduce import ROUND_PATHS
from flows.verify.evidence import Evidence, Finding, UncheckedError
from flows.versions.restored_hashes import wrong_in_dvc, wrong_in_git
from flows.workspace.dvc.dvc_cache import Out
from flows.workspace.dvc.dvc_files import LockedStage
from pipeline import layout

# What people may edit between rounds; the next round reads and commits it.
FOR_PEOPLE = (layout.PARAMS, layout.DVC_YAML)
_SHOWN = 3


def tags(evidence: Evidence) -> Iterator[Finding]:
    """At every tag, dvc.lock says the hashes of the files that lie there."""
    computed = {tag for _, _, tag in evidence.rounds}
    for tag in evidence.each("tags", evidence.tags):
        known = {out.path: out.md5 for out in evidence.outs(tag)}
        in_git = evidence.workspace.git.files_at(tag)
        for name, stage in evidence.lock(tag).items():
            # After a merge or an arrival the stages are behind their inputs, until the next round.
            entries: list[Mapping[str, Any]] = [*stage.get("outs", ())]
            entries += stage.get("deps", ()) if tag in computed else ()
            for entry in entries:
                path = entry["path"]
                found = known.get(path)
                if path in in_git:
                    content = evidence.workspace.show(tag, Path(path))
                    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
                if found is not None and found != entry["md5"]:
                    yield Finding(
                        where=f"{tag}: {path}",
                        what=f"is not what dvc.lock says of stage {name} (MD5 {found}, expected "
                        f"{entry['md5']})",
                        remedy=f"no tick made this commit: see `git log {tag} -- {path} "
                        "dvc.lock`; go on from an earlier tag (`ssl-loop restore`)",
                    )
            if tag in computed:
                yield from _params(evidence, tag, name, stage)


def _params(evidence: Evidence, tag: str, name: str, stage: LockedStage) -> Iterator[Finding]:
    for file, locked in stage.get("params", {}).items():
        found = evidence.yaml(tag, Path(file))
        for key, value in locked.items():
            if (there := _lookup(found, key)) != value:
                yield Finding(
                    where=f"{tag}: {file}",
                    what=f"{key} = {there!r}, stage {name} was run with {value!r}",
                    remedy=f"`git log {tag} -- {file} dvc.lock` says who changed it in between; go "
                    "on from an earlier tag (`ssl-loop restore`)",
                )


def _lookup(block: Any, key: str) -> Any:
    for part in key.split("."):
        block = block.get(part) if isinstance(block, dict) else None
    return block


def working_copy(evidence: Evidence) -> Iterator[Finding]:
    """Every file of the working copy that git or DVC keep is HEAD's, by hash; none too many.

    While a round is under way, this is judged of what its stages do not write.
    """
    if evidence.position is None:
        raise UncheckedError("no domain was taken in yet")
    under_way = not evidence.position.computed
    written = _written_by_a_round(evidence) if under_way else set(FOR_PEOPLE)
    files = {
        path: entry
        for path, entry in evidence.workspace.git.files_at("HEAD").items()
        if written.isdisjoint((Path(path), *Path(path).parents))
    }
    present = [
        out
        for out in evidence.outs("HEAD")
        if Path(out.path) not in written and not (out.remade and evidence.cache.missing([out]))
    ]
    wrong = [
        *wrong_in_git(evidence.root, files),
        *wrong_in_dvc(evidence.root, present, evidence.cache),
    ]
    for line in wrong:
        path, _, what = line.partition(": ")
        yield Finding(
            where=path,
            what=f"{what} at HEAD",
            remedy=f"yours? copy it elsewhere; `git checkout HEAD -- {path}` (git's) or `dvc "
            "checkout --force` (DVC's) bring back what was recorded",
        )
    status = {} if under_way else evidence.workspace.dvc_status()
    for stage, changes in status.items():
        for change in changes if isinstance(changes, list) else ():
            for path, how in change.get("changed outs", {}).items() if change else ():
                if not any(line.startswith(path) for line in wrong):
                    yield Finding(
                        where=path,
                        what=f"DVC calls it {how} (stage {stage})",
                        remedy="`dvc checkout --force`, or `dvc fetch` first where it is missing",
                    )


def _written_by_a_round(evidence: Evidence) -> set[Path]:
    outs = [out for stage in evidence.lock("HEAD").values() for out in stage.get("outs", ())]
    return {*ROUND_PATHS, *(Path(out["path"]) for out in outs)}


def restorable(evidence: Evidence) -> Iterator[Finding]:
    """Every tag can be restored: all its files are in DVC's cache, each with its own hash."""
    objects: dict[str, list[str]] = {}
    for tag in [*evidence.tags, "HEAD"]:
        kept = [out for out in evidence.outs(tag) if not out.remade]
        if missing := evidence.cache.missing(kept):
            yield _lost(tag, missing)
        for out in kept:
            for path, md5 in _objects(evidence, out):
                objects.setdefault(md5, [f"{tag}: {path}"])
    for md5, (where, *_) in evidence.each("cache", objects.items()):
        stored = evidence.cache.object(md5)
        if stored.exists() and evidence.md5(stored) != md5.removesuffix(".dir"):
            yield Finding(
                where=where,
                what=f"is spoilt in DVC's cache ({stored})",
                remedy=f"rm {stored}; then `dvc fetch --all-tags` from a remote, or `dvc add` "
                "of the folder where the working copy is right",
            )


def _objects(evidence: Evidence, out: Out) -> Iterator[tuple[str, str]]:
    yield out.path, out.md5
    if out.is_folder:
        yield from (evidence.cache.files(out) or {}).items()


def _lost(tag: str, missing: list[str]) -> Finding:
    more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    return Finding(
        where=tag,
        what=f"{len(missing)} of its files are not in DVC's cache: "
        f"{', '.join(missing[:_SHOWN])}{more}",
        remedy="`dvc fetch --all-tags` brings what a remote or another copy of the cache has; "
        "without one this tag cannot be restored any more",
    )
