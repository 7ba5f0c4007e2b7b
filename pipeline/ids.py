"""Ids of samples, `<domain>/<stem>`, and of query items, `<domain>/<stem>/r<k>`. Imports nothing.

`db` imports no other package and has its own way from a sample to an item: repository/queries.py.
"""

from __future__ import annotations


def domain_of(any_id: str) -> str:
    """The domain of a sample, of a query item, or of a tag."""
    return any_id.split("/", 1)[0]


def item_id(sample_id: str, round_index: int) -> str:
    """Identity of a query item everywhere, the annotation tool included."""
    return f"{sample_id}/r{round_index}"


def sample_of(item_id: str) -> str:
    """The sample that a query item asks about."""
    return item_id.rsplit("/", 1)[0]


def round_tag_of(item_id: str) -> str:
    """The tag `<domain>/r<k>` of the round that asks for a query item."""
    return f"{domain_of(item_id)}/{item_id.rsplit('/', 1)[1]}"
