"""The table of benchmarks/results/faults.md."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

from benchmarks.support import machine
from tests.faults.driver import COUNTED, Outcome

ROOT = Path(__file__).parents[2]
CORPUS = "tests/fuzz/corpus"  # grows while fuzzing, and is no code
HEAD = ("kind", "played", "struck", *COUNTED, "stuck", "tracebacks")


def markdown(outcomes: list[Outcome], revision: str, seed: int) -> str:
    """One row per kind, the sums above, everything that did not hold below."""
    rows: dict[str, list[Outcome]] = {}
    for outcome in sorted(outcomes, key=lambda one: one.kind):
        rows.setdefault(outcome.kind, []).append(outcome)
    lines = [
        "# Faults",
        "",
        f"`make faults N={len(outcomes)} SEED={seed}` at {revision}: {machine()}. "
        "What each kind is: tests/faults/; what is counted: docs/faults.md.",
        "",
        _line(HEAD),
        "|---|" + "---:|" * (len(HEAD) - 1),
        _line(("**all**", *_counts(outcomes))),
        *(_line((kind, *_counts(found))) for kind, found in rows.items()),
        "",
        *_left_out(rows),
        *_not_held(outcomes),
    ]
    return "\n".join(lines) + "\n"


def _counts(outcomes: list[Outcome]) -> list[int]:
    played = [one for one in outcomes if not one.left_out]
    return [
        len(played),
        sum(one.struck > 0 for one in played),
        *(sum(len(getattr(one, name)) for one in played) for name in COUNTED),
        sum(bool(one.stuck) for one in played),
        sum(len(one.tracebacks) for one in played),
    ]


def _line(cells: Iterable[object]) -> str:
    return f"| {' | '.join(str(cell).replace('|', '/') for cell in cells)} |"


def _left_out(rows: dict[str, list[Outcome]]) -> list[str]:
    why = {kind: found[0].left_out for kind, found in rows.items() if found[0].left_out}
    said = [f"Not played here: {kind}: {reason}." for kind, reason in why.items()]
    return [*said, ""] if said else []


def _not_held(outcomes: list[Outcome]) -> list[str]:
    bad = [one for one in outcomes if not one.held]
    if not bad:
        return ["Everything held."]
    return ["Not held:", "", *(f"- {one.kind}, seed {one.seed}: {one.in_words()}" for one in bad)]


def revision(root: Path = ROOT) -> str:
    """The commit; where files differ from it, with a hash of what differs."""

    def git(*arguments: str) -> bytes:
        return subprocess.check_output(["git", *arguments], cwd=root)

    named = git("describe", "--always", "--dirty", "--exclude", "*").decode().strip()
    where = (".", f":!{CORPUS}")
    changes = git("diff", "HEAD", "--binary", "--", *where)
    new = git("ls-files", "-z", "--others", "--exclude-standard", "--", *where)
    for path in new.split(b"\0")[:-1]:
        changes += path + _content(root / os.fsdecode(path))
    return f"{named}-{hashlib.sha256(changes).hexdigest()[:8]}" if changes else named


def _content(path: Path) -> bytes:
    """As git keeps it: of a link where it points, of a repository within this one nothing."""
    if path.is_symlink():
        return os.fsencode(path.readlink())
    return path.read_bytes() if path.is_file() else b""
