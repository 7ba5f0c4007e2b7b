"""What a tick refuses to go on over, one function each: looked at before anything is computed.

Each says what was found and what to do, as an error; `refusals` is for those who want them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from db import repository
from db.session import session_scope
from flows.domains.incoming import waiting
from flows.loop import Loop
from flows.services import stack
from flows.versions.collect_garbage import register_use
from flows.workspace.git.commands import is_litter
from flows.workspace.git.commit_owners import require_own
from flows.workspace.git.lost_tags import require_tags
from flows.workspace.position import ingest_tag, round_tags
from flows.workspace.remote import redacted
from flows.workspace.workspace import WRITING, Workspace
from pipeline import layout
from pipeline.errors import SslLoopError, WorkspaceError
from pipeline.files import sha256_file, write_text

LEDGER_PLACE = layout.PRIVATE / "ledger-place"  # where the ledger was at the last tick
_SHOWN = 10


def require_sound(loop: Loop) -> None:
    """The first of all refusals, or nothing."""
    loop.workspace.settle(loop.log)
    for look in GUARDS.values():
        look(loop)
    _remember_ledger(loop)
    register_use(loop.workspace)


def require_branch(loop: Loop) -> None:
    """HEAD is the workspace's branch, and nothing is half done."""
    loop.workspace.require_clean_branch()


def require_history(loop: Loop) -> None:
    """No tag is missing, none is in the way."""
    require_tags(loop.workspace)


def require_domains(loop: Loop) -> None:
    """`domain` and `domains` of params.yaml are what the loop wrote there."""
    workspace, params = loop.workspace, loop.read_params()
    arriving = waiting(loop.root)
    taken_in = [tag.rpartition("/")[0] for tag in workspace.tags_merged() if _is_ingest(tag)]
    written = _last_taken_in(workspace)
    if params.domain != written and params.domain not in arriving:
        raise WorkspaceError(
            f"{layout.PARAMS}: domain is {params.domain!r}, and the loop wrote {written!r}; only "
            f"taking in a domain changes it. Set it back: `domain: {written or 'null'}`. To move "
            "on to another domain: `ssl-loop domain add NAME --images DIR`, `ssl-loop round close`"
        )
    if gone := [name for name in taken_in if name not in params.domains]:
        raise WorkspaceError(
            f"{layout.PARAMS}: domains lacks {', '.join(gone)}, which the loop took in; put it "
            f"back, as in `git show HEAD:{layout.PARAMS}`"
        )
    expected = {*taken_in, *arriving}
    if extra := [name for name in params.domains if name not in expected]:
        raise WorkspaceError(
            f"{layout.PARAMS}: domains has {', '.join(extra)}, which the loop never took in; take "
            "it out: `ssl-loop domain add NAME --images DIR` brings a domain"
        )


def require_ledger(loop: Loop) -> None:
    """The ledger has what git's tags have."""
    lacks = _lacks(loop)
    if not lacks:
        return
    place, last = _place(loop), _last_place(loop)
    moved = (
        f" It was {last} until now: set {stack.LEDGER_VARIABLE} to that if it is still there."
        if last and last != place
        else ""
    )
    raise WorkspaceError(
        f"the ledger {place} lacks {', '.join(lacks[:_SHOWN])}, which git's tags have: was it "
        f"deleted, or is it another one?{moved} `ssl-loop ledger rebuild` makes it again from git "
        "and DVC"
    )


def require_own_commits(loop: Loop) -> None:
    """No commit of a person's changed what the loop keeps."""
    require_own(loop.workspace)


def require_own_files(loop: Loop) -> None:
    """Nobody edits the manifest or DVC's pointers in the working copy."""
    if (loop.root / WRITING).exists():
        return  # a step of ours was killed: what it left is done again
    changed = loop.workspace.git.listed(
        "diff", "--name-only", "-z", "HEAD", "--", layout.DATA.as_posix()
    )
    domains = tuple(f"{layout.DATA}/{name}/" for name in loop.read_params().domains)
    ours = [name for name in changed if name == str(layout.MANIFEST) or name.startswith(domains)]
    if ours:
        raise WorkspaceError(_edited(ours))


def require_own_data(loop: Loop) -> None:
    """Nobody edits images, masks or records in the working copy; asked before they are read."""
    if (loop.root / WRITING).exists():
        return
    manifest = loop.workspace.manifest_at("HEAD")
    expected = {s.image: s.image_sha256 for s in manifest}
    expected |= {s.mask: s.mask_sha256 for s in manifest if s.mask}
    changed: list[str] = []
    for name in loop.read_params().domains:
        for folder in (layout.images_dir(name), layout.masks_dir(name)):
            changed += _edited_in(loop.root, folder, expected)
    if changed:
        raise WorkspaceError(_edited(changed))


def _edited_in(root: Path, folder: Path, expected: dict[str, str]) -> Iterator[str]:
    """Files that are not the manifest's; of those as old as DVC's pointer DVC knows the content."""
    pointer = root / folder.with_name(f"{folder.name}.dvc")
    if not pointer.exists() or not (root / folder).is_dir():
        return
    since = pointer.stat().st_mtime_ns
    for path in sorted(root.joinpath(folder).iterdir()):
        name = path.relative_to(root).as_posix()
        if not path.is_file() or is_litter(name):
            continue
        sha256 = expected.get(name)
        newer = path.stat().st_mtime_ns > since
        if sha256 is None or (newer and sha256_file(path) != sha256):
            yield name


GUARDS: dict[str, Callable[[Loop], None]] = {
    "branch": require_branch,
    "history": require_history,
    "domains": require_domains,
    "ledger": require_ledger,
    "commits": require_own_commits,
    "files": require_own_files,
}


def refusals(loop: Loop) -> Iterator[tuple[str, str]]:
    """(name, what is wrong and what to do) of everything that a tick would stop at."""
    for name, look in GUARDS.items():
        try:
            look(loop)
        except SslLoopError as error:
            yield name, str(error)


def _edited(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (
        f"{', '.join(names[:_SHOWN])}{more}: edited by hand and not committed; the loop would "
        "read it now and write over it later. Keep it: `dvc add` the folder, the new hash into "
        f"{layout.MANIFEST}, `git commit`, `ssl-loop commit accept HEAD`; or drop it: "
        f"`git checkout HEAD -- {layout.DATA} && dvc checkout --force`"
    )


def _is_ingest(tag: str) -> bool:
    domain, _, last = tag.rpartition("/")
    return bool(domain) and tag == ingest_tag(domain) and last != ""


def _last_taken_in(workspace: Workspace) -> str | None:
    """By git's history: the nearest `<domain>/ingest` below HEAD."""
    tag = workspace.git.says("describe", "--tags", "--abbrev=0", f"--match={ingest_tag('*')}")
    return tag.rpartition("/")[0] if tag else None


def _lacks(loop: Loop) -> list[str]:
    """Domains and rounds that the ledger should have; not what a killed tick will still record."""
    tags, arriving = loop.workspace.tags_merged(), waiting(loop.root)
    domains = [d for d in loop.read_params().domains if ingest_tag(d) in tags and d not in arriving]
    here = loop.position()
    with session_scope(loop.ledger, read_only=True) as session:
        known = set(repository.domains(session))
        lacks = [f"domain {name}" for name in domains if name not in known]
        rounds = {name: repository.rounds(session, name) for name in known}
    newest = here.tag if here else None  # recorded by the tick itself
    return lacks + [
        tag
        for domain, round_index, tag in round_tags(domains, tags)
        if domain in known and tag != newest and round_index not in rounds[domain]
    ]


def _place(loop: Loop) -> str:
    return redacted(stack.ledger_url(loop.root))


def _last_place(loop: Loop) -> str:
    path = loop.root / LEDGER_PLACE
    return path.read_text(encoding="utf-8").strip() if path.exists() else ""


def _remember_ledger(loop: Loop) -> None:
    if _last_place(loop) != (place := _place(loop)):
        write_text(loop.root / LEDGER_PLACE, f"{place}\n")
