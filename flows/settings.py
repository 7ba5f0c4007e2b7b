"""`--set KEY=VALUE`: knobs of params.yaml from the command line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.errors import ConfigError


def parse_settings(settings: Iterable[str]) -> dict[str, Any]:
    """`["train.steps=5", "loop.budget=8"]` as nested blocks; values are read as YAML."""
    nested: dict[str, Any] = {}
    for setting in settings:
        key, separator, text = setting.partition("=")
        if not separator or not key:
            raise ConfigError(f"--set {setting!r}: expected KEY=VALUE, such as train.steps=500")
        try:
            value = YAML(typ="safe").load(text)
        except YAMLError:
            raise ConfigError(f"--set {setting!r}: {text!r} is not a YAML value") from None
        block = nested
        *parents, last = key.split(".")
        for parent in parents:
            block = block.setdefault(parent, {})
        block[last] = value
    return nested
