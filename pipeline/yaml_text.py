"""YAML that people write, read within bounds: a few hundred bytes of it can stand for gigabytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    NodeEvent,
    ScalarEvent,
)

# With every alias written out; a params.yaml has 150 values, and two per domain.
MAX_VALUES = 100_000
# Of blocks in blocks; a params.yaml has 4. The C parser crashes at some thousands.
MAX_DEPTH = 50


def load_yaml(text: str, parser: YAML | None = None) -> Any:
    """The values in `text`; YAMLError for what is no YAML, or more than MAX_VALUES or MAX_DEPTH.

    A `parser` of one's own may keep more than values: comments, order, quotes.
    """
    try:
        _require_bounded(text)
        return (parser or YAML(typ="safe")).load(text)
    except (ValueError, OverflowError) as error:  # a number of thousands of digits, half a sign
        raise YAMLError(str(error)) from None


@dataclass
class _Open:
    """A collection whose end has not come yet."""

    anchor: str | None
    size: int = 1


def _require_bounded(text: str) -> None:
    """By the parser's events, before anything is built."""
    stack = [_Open(None)]
    sizes: dict[str, int] = {}
    for event in YAML(typ="safe").parse(text):
        if isinstance(event, CollectionStartEvent):
            stack.append(_Open(event.anchor))
        elif isinstance(event, CollectionEndEvent):
            closed = stack.pop()
            stack[-1].size += closed.size
            if closed.anchor:
                sizes[closed.anchor] = closed.size
        elif isinstance(event, AliasEvent):
            stack[-1].size += _size_of(event, sizes)
        elif isinstance(event, ScalarEvent):
            stack[-1].size += 1
            if event.anchor:
                sizes[event.anchor] = 1
        if len(stack) > MAX_DEPTH:
            raise YAMLError(f"more than {MAX_DEPTH} blocks in each other")
        if isinstance(event, NodeEvent) and stack[-1].size > MAX_VALUES:
            raise YAMLError(f"more than {MAX_VALUES} values, aliases written out; write fewer")


def _size_of(alias: AliasEvent, sizes: dict[str, int]) -> int:
    if alias.anchor not in sizes:
        raise YAMLError(f"alias *{alias.anchor}: nothing of that name before it, or itself")
    return sizes[alias.anchor]
