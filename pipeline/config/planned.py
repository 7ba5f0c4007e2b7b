"""Knobs that a plan may set: `auto` in params.yaml, and `auto:300` once the plan has chosen 300.

Whoever reads the parsed params sees the plain value: of `auto` alone the default, which stands
until a plan is made.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator
from pydantic_core import PydanticUseDefault

from pipeline.config.block import Block

AUTO = "auto"
_CHOSEN = f"{AUTO}:"
Value = TypeVar("Value")


def _plain(value: Any) -> Any:
    if value == AUTO:
        raise PydanticUseDefault
    if isinstance(value, str) and value.startswith(_CHOSEN):
        return _parsed(value.removeprefix(_CHOSEN))
    return value


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text  # a name


_PLANNED = BeforeValidator(_plain)
Planned = Annotated[Value, _PLANNED]
"""A knob's type, with `auto` and `auto:<value>` let through."""


def chosen_text(value: Any) -> str:
    """How a plan's choice stands in params.yaml."""
    return f"{_CHOSEN}{value if isinstance(value, str) else json.dumps(value)}"


def planned_knobs(blocks: type[Block]) -> tuple[str, ...]:
    """Names such as train.steps of every knob that a plan may set, in the file's order."""
    return tuple(_planned(blocks, ""))


def _planned(block: type[Block], prefix: str) -> Iterator[str]:
    for name, field in block.model_fields.items():
        if _PLANNED in field.metadata:
            yield f"{prefix}{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, Block):
            yield from _planned(field.annotation, f"{prefix}{name}.")


def auto_knobs(blocks: type[Block], raw: Mapping[str, Any]) -> dict[str, str]:
    """Of those, the ones that a file leaves to the plan, as they stand there."""
    found = {}
    for knob in planned_knobs(blocks):
        block, _, name = knob.partition(".")
        value = (raw.get(block) or {}).get(name)
        if isinstance(value, str) and (value == AUTO or value.startswith(_CHOSEN)):
            found[knob] = value
    return found


def in_blocks(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Values by knob, such as train.steps, as blocks of params.yaml."""
    blocks: dict[str, dict[str, Any]] = {}
    for knob, value in values.items():
        block, _, name = knob.partition(".")
        blocks.setdefault(block, {})[name] = value
    return blocks
