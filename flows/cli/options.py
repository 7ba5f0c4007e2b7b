"""Options that several commands of `ssl-loop` take."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

WORKSPACE = click.option(
    "--workspace",
    "-w",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="The workspace's folder (default: here).",
)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")


def echo_json(value: Any) -> None:
    """Print plain values, dataclasses among them, as JSON for scripts."""
    click.echo(json.dumps(value, indent=1, default=asdict))


def settings(text: str) -> Callable[[Command], Command]:
    """`--set KEY=VALUE`, any number of times."""
    return click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help=text)


def file_to_write(flag: str, text: str) -> Callable[[Command], Command]:
    """`--json FILE` and the like, as `json_path`."""
    path = click.Path(path_type=Path, dir_okay=False)
    return click.option(flag, f"{flag.removeprefix('--')}_path", type=path, help=text)


def cache(text: str) -> Callable[[Command], Command]:
    """`--cache DIRECTORY`."""
    path = click.Path(path_type=Path, file_okay=False)
    return click.option("--cache", type=path, help=f"{text} [default: the user's cache folder].")
