"""Changing params.yaml as a person would: comments, order and everything else stay."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline.config.params import Params, parse_params
from pipeline.errors import ConfigError
from pipeline.files import write_text
from pipeline.reading import read


def check_changes(path: Path, changes: Mapping[str, Any]) -> None:
    """ConfigError when params.yaml at `path` would not hold after `changes`; writes nothing."""
    parse_params(_merged(read(path, error=ConfigError).yaml(_yaml()), changes))


def apply_changes(path: Path, changes: Mapping[str, Any]) -> Params:
    """Merge nested `changes` into the file; ConfigError leaves it as it was."""
    yaml = _yaml()
    merged = _merged(read(path, error=ConfigError).yaml(yaml), changes)
    params = parse_params(merged, source=str(path))
    text = io.StringIO()
    yaml.dump(merged, text)
    write_text(path, text.getvalue())
    return params


def _yaml() -> YAML:
    yaml = YAML()  # round trip: comments and order stay
    yaml.preserve_quotes = True
    yaml.width = 100
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.add_representer(type(None), _write_null)
    return yaml


def _write_null(representer: Any, _: None) -> Any:
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")


def _merged(target: Any, changes: Mapping[str, Any]) -> Any:
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(target.get(key), dict):
            if not target[key]:
                target[key].fa.set_block_style()  # an empty {} would stay on one line for ever
            _merged(target[key], value)
        else:
            target[key] = value
    return target
