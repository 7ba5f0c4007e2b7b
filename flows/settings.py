"""`--set KEY=VALUE`: knobs of params.yaml from the command line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ruamel.yaml.error import YAMLError

from pipeline.errors import ConfigError
from pipeline.yaml_text import load_yaml

SHOWN = 200  # characters of what was typed


def parse_settings(settings: Iterable[str]) -> dict[str, Any]:
    """`["train.steps=5", "loop.budget=8"]` as nested blocks; values are read as YAML."""
    nested: dict[str, Any] = {}
    for setting in settings:
        key, separator, text = setting.partition("=")
        if not separator or not key:
            raise ConfigError(f"--set {setting!r}: expected KEY=VALUE, such as train.steps=500")
        try:
            value = load_yaml(text)
        except YAMLError as error:
            raise ConfigError(
                f"--set {setting[:SHOWN]!r}: {text[:SHOWN]!r} is not a YAML value: "
                f"{str(error).splitlines()[0]}"
            ) from None
        block = nested
        *parents, last = key.split(".")
        for parent in parents:
            block = block.setdefault(parent, {})
            if not isinstance(block, dict):
                raise ConfigError(f"--set {setting!r}: {parent} has a value already, {block!r}")
        block[last] = value
    return nested
