"""docs/reference.md from the code's tables; `python -m tests.support.reference_page` writes it."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from pipeline.config.params import PLANNED_KNOBS
from tests.support import source_tree as source

PAGE = Path(__file__).parents[2] / "docs/reference.md"
_HEAD = """\
# Reference

Every name one can write in `params.yaml` or on the command line. This page is made from the code
by `python -m tests.support.reference_page`; a test fails when the two differ. The words are
explained in [glossary.md](glossary.md), the whole in [architecture.md](architecture.md).
"""


def render() -> str:
    """The page as it should be."""
    tools = rows("ANNOTATORS")
    sections = [
        _HEAD,
        _section("Commands", ("command", "what it does"), commands()),
        _section("Stages", ("stage", "what it does"), stages()),
        _section("Methods (`method.name`)", ("method", "how it learns"), rows("METHODS")),
        _section("Mixes (`method.mixes`)", ("mix", "what the student sees"), rows("MIXES")),
        _section(
            "Feature perturbations (`method.feature_perturbations`)",
            ("perturbation", "what it does to feature maps"),
            rows("FEATURE_PERTURBATIONS"),
        ),
        _section("Strategies (`acquire.strategy`)", ("strategy", "its rule"), rows("STRATEGIES")),
        _section("Models (`model.name`)", ("model", "what it is"), rows("MODELS")),
        _section(
            "Data exports (`export-data --format`)", ("format", "what it is"), rows("EXPORTS")
        ),
        _section("Annotation tools (`annotation.tool`)", ("tool",), [r[:1] for r in tools]),
        _section("Params", ("key", "default", "allowed", "meaning"), params()),
        _section("Invariants (`ssl-loop verify`)", ("invariant", "what holds"), rows("INVARIANTS")),
        _section("Tables of the ledger", ("table", "what a row says"), ledger_tables()),
    ]
    return "\n".join(sections)


TABLES = {
    "METHODS": "pipeline.methods",
    "MIXES": "pipeline.methods.shared.mixing",
    "FEATURE_PERTURBATIONS": "pipeline.methods.shared.feature_perturbations",
    "STRATEGIES": "pipeline.acquisition",
    "MODELS": "pipeline.models",
    "EXPORTS": "pipeline.data.exports",
    "ANNOTATORS": "flows.annotators",
    "INVARIANTS": "flows.verify",
}


def rows(table: str) -> list[tuple[str, ...]]:
    """(name, first line of its docstring) of one of the TABLES."""
    entries: Mapping[str, Any] = getattr(importlib.import_module(TABLES[table]), table)
    return [(f"`{name}`", _first_line(_rule(entry))) for name, entry in entries.items()]


def _rule(entry: Any) -> Any:
    """What a row's name stands for: some tables keep more about it."""
    return getattr(entry, "build", None) or getattr(entry, "choose", entry)


def stages() -> list[tuple[str, ...]]:
    """(stage, first line of its module), in the order of a round."""
    from pipeline.stages import STAGES

    found = []
    for name, module in STAGES.items():
        said = ast.get_docstring(source.tree(source.modules()[module])) or ""
        line = _line(said.split("\n\n")[0]).split(": ", 1)[-1]
        found.append((f"`{name}`", line[:1].upper() + line[1:]))
    return found


def commands() -> list[tuple[str, ...]]:
    """(`ssl-loop GROUP COMMAND`, first line of its help)."""
    from flows.cli import main

    return [
        (f"`{path}`", _line((command.help or "").strip().split("\n\n")[0]))
        for path, command in _commands("ssl-loop", main)
    ]


def _commands(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name, member in command.commands.items():
        if not member.hidden:
            yield from _commands(f"{path} {name}", member)


def params() -> list[tuple[str, ...]]:
    """(dotted key, default, allowed, meaning) of every knob of params.yaml."""
    from pipeline.config.params import Params

    schema = Params.model_json_schema()
    return list(_keys("", schema, schema["$defs"]))


def _keys(prefix: str, block: Mapping[str, Any], blocks: Any) -> Iterator[tuple[str, ...]]:
    for name, key in block["properties"].items():
        nested = key.get("$ref") or key.get("additionalProperties", {}).get("$ref")
        own = f"{prefix}{name}" if "$ref" in key else f"{prefix}{name}.<domain>"
        if "$ref" not in key:
            default = _value(key["default"]) if "default" in key else "-"
            meaning = _line(key.get("description", ""))
            allowed = _allowed(key) + (" or `auto`" if f"{prefix}{name}" in PLANNED_KNOBS else "")
            yield f"`{prefix}{name}`", default, allowed, meaning
        if nested:
            yield from _keys(f"{own}.", blocks[nested.rsplit("/", 1)[-1]], blocks)


def _allowed(key: Mapping[str, Any]) -> str:
    if "anyOf" in key:
        return " or ".join(_allowed(option) for option in key["anyOf"])
    if "const" in key:
        return _value(key["const"])
    if "enum" in key:
        return ", ".join(_value(value) for value in key["enum"])
    limits = [
        f"{sign} {key[name]:g}"
        for name, sign in (
            ("minimum", ">="),
            ("exclusiveMinimum", ">"),
            ("maximum", "<="),
            ("exclusiveMaximum", "<"),
        )
        if name in key
    ]
    kind = {"array": "list", "object": "mapping", "string": "text"}.get(key["type"], key["type"])
    return " ".join([kind, ", ".join(limits)]).strip()


def _value(value: Any) -> str:
    return (
        "null" if value is None else f"`{str(value).lower() if value in (True, False) else value}`"
    )


def ledger_tables() -> list[tuple[str, ...]]:
    """(table, first line of its class)."""
    from db.tables import Base

    mappers = Base.registry.mappers
    found = {mapper.local_table.name: mapper.class_ for mapper in mappers}
    return [(f"`{name}`", _first_line(found[name])) for name in sorted(found)]


def _section(title: str, head: Iterable[str], lines: Iterable[tuple[str, ...]]) -> str:
    head = tuple(head)
    table = [head, ("---",) * len(head), *lines]
    body = "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in table)
    return f"## {title}\n\n{body}\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _first_line(thing: object) -> str:
    return _line((inspect.getdoc(thing) or "").split("\n\n")[0])


def _line(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
    print(PAGE)
