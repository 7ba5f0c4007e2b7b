"""`--set KEY=VALUE`: knobs of params.yaml from the command line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pipeline.errors import ConfigError
from pipeline.reading import AGAIN, content_of


def parse_settings(settings: Iterable[str]) -> dict[str, Any]:
    """`["train.steps=5", "loop.budget=8"]` as nested blocks; values are read as YAML."""
    nested: dict[str, Any] = {}
    for setting in settings:
        key, separator, text = setting.partition("=")
        if not separator or not key:
            raise ConfigError(f"--set {setting!r}: expected KEY=VALUE, such as train.steps=500")
        value = content_of(text, f"--set {key}", remedy=AGAIN, error=ConfigError).yaml_value()
        block = nested
        *parents, last = key.split(".")
        for parent in parents:
            block = block.setdefault(parent, {})
            if not isinstance(block, dict):
                raise ConfigError(f"--set {setting!r}: {parent} has a value already, {block!r}")
        block[last] = value
    return nested
