"""Blocks of knobs as frozen values, and the words in which a wrong one is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import ConfigError

SHOWN = 50  # problems of one file
MAX_SHOWN = 200  # characters of a value


class Block(BaseModel):
    """Frozen, typed strictly, and closed: an unknown key is refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )


AnyBlock = TypeVar("AnyBlock", bound=Block)


def parse_block(block: type[AnyBlock], raw: Mapping[str, Any], *, source: str) -> AnyBlock:
    """Values of a block; ConfigError names every bad key with its value and what is allowed."""
    try:
        return block.model_validate(dict(raw))
    except ValidationError as error:
        found = error.errors()
        lines = [_complaint(block, item) for item in found[:SHOWN]]
        lines += [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
        raise ConfigError(f"{source}: {len(found)} problem(s)\n  " + "\n  ".join(lines)) from None


def _complaint(block: type[Block], item: Any) -> str:
    key = ".".join(str(part) for part in item["loc"]) or "(whole file)"
    if item["type"] == "extra_forbidden":
        known = ", ".join(_known_keys(block, item["loc"][:-1])) or "none"
        return f"{key}: unknown key; known here: {known}"
    if item["type"] == "missing":
        return f"{key}: missing"
    if item["type"] in ("too_short", "too_long"):
        context = item["ctx"]
        bounds = {"min_length": "at least", "max_length": "at most"}
        allowed = next(f"{words} {context[key]}" for key, words in bounds.items() if key in context)
        return f"{key}: {allowed} expected, got {context['actual_length']}"
    message = item["msg"].removeprefix("Value error, ")
    shown = repr(item["input"])
    if len(shown) > MAX_SHOWN:
        shown = f"{shown[:MAX_SHOWN]}..."
    value = "" if isinstance(item["input"], dict) else f" = {shown}"
    return f"{key}{value}: {message[0].lower()}{message[1:]}"


def _known_keys(block: type[Block], loc: tuple[Any, ...]) -> list[str]:
    found: Any = block
    for part in loc:
        field = found.model_fields.get(part)
        if field is None:
            continue  # a name of the user's own, such as a domain's
        annotation = field.annotation
        # `domains` holds blocks under names of the user's own.
        found = annotation if hasattr(annotation, "model_fields") else annotation.__args__[1]
    return list(found.model_fields)
