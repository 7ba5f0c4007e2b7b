"""Where the loop stands, read from evidence alone: tags reachable from HEAD and params.yaml.

There is no stored state to go stale: `<domain>/r<k>` says that round k was computed,
`<domain>/r<k>-labels` that its answers are merged.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import NamedTuple

from pipeline.errors import WorkspaceError


@dataclass(frozen=True, kw_only=True)
class Position:
    """The current domain and round; `computed` when its tag exists."""

    domain: str
    round_index: int
    computed: bool

    @property
    def tag(self) -> str:
        """`<domain>/r<k>`: models, predictions and query of this round."""
        return round_tag(self.domain, self.round_index)

    @property
    def labels_tag(self) -> str:
        """`<domain>/r<k>-labels`: the answers to this round's query merged into the data."""
        return labels_tag(self.domain, self.round_index)


def ingest_tag(domain: str, number: int = 1) -> str:
    """The tag of a domain's arrival, or of the `number`-th images that joined it."""
    return f"{domain}/ingest" if number == 1 else f"{domain}/ingest-{number}"


def ingest_numbers(domain: str, tags: Iterable[str]) -> list[int]:
    """1 for a domain's arrival and one more for each time that images joined it, in order."""
    known, found = set(tags), list[int]()
    while ingest_tag(domain, len(found) + 1) in known:
        found.append(len(found) + 1)
    return found


def round_tag(domain: str, round_index: int) -> str:
    """The tag of a computed round."""
    return f"{domain}/r{round_index}"


def labels_tag(domain: str, round_index: int) -> str:
    """The tag of a merged round."""
    return f"{domain}/r{round_index}-labels"


def final_tag(domain: str, ends: int = 1) -> str:
    """The tag of a domain's last computed round, once its campaign ended for the `ends`-th time.

    A tag never moves: a campaign that was opened again and ends again gets `<domain>/final-2`.
    """
    return f"{domain}/final" if ends == 1 else f"{domain}/final-{ends}"


def final_tags(domain: str, tags: Iterable[str]) -> list[str]:
    """Of every end that a domain's campaign had, in order."""
    known, found = set(tags), list[str]()
    while (tag := final_tag(domain, len(found) + 1)) in known:
        found.append(tag)
    return found


def accepted_tag(tag: str) -> str:
    """Beside a computed round's tag: a person takes what it costs older domains."""
    return f"{tag}-accepted"


def position(domain: str | None, tags: Iterable[str]) -> Position | None:
    """Where `domain` stands by the tags reachable from HEAD; None before the first domain."""
    known = set(tags)
    if domain is None or ingest_tag(domain) not in known:
        return None
    round_index = 0
    while labels_tag(domain, round_index) in known:
        round_index += 1
    computed = round_tag(domain, round_index) in known
    return Position(domain=domain, round_index=round_index, computed=computed)


class RoundTag(NamedTuple):
    """A computed round and its tag."""

    domain: str
    round_index: int
    tag: str


def round_tags(domains: Iterable[str], tags: Iterable[str]) -> list[RoundTag]:
    """Of every computed round, in order of arrival and round."""
    known = set(tags)
    found = []
    for domain in domains:
        round_index = 0
        while (tag := round_tag(domain, round_index)) in known:
            found.append(RoundTag(domain, round_index, tag))
            round_index += 1
    return found


def require_tag(name: str, known: Iterable[str]) -> str:
    """The name itself; WorkspaceError with the nearest ones for a tag that is not there."""
    tags = list(known)
    if name in tags:
        return name
    near = get_close_matches(name, tags, n=5, cutoff=0.5) or tags[-5:]
    raise WorkspaceError(
        f"{name}: no such tag; "
        + (f"near it: {', '.join(near)} (`ssl-loop history` has all)" if near else "there is none")
    )
