"""The command `ssl-loop methods`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from flows.cli.options import AS_JSON, echo_json
from pipeline.runtime.torch_settings import settle_torch

if TYPE_CHECKING:
    from pipeline.methods.catalogue import Entry


@click.command("methods")
@AS_JSON
def methods(as_json: bool) -> None:
    """All ways to learn from unlabelled images, for `method.name` in params.yaml.

    Equations, papers and what differs from them: docs/methods/index.md.
    """
    settle_torch()
    from pipeline.methods.catalogue import entries

    found = entries()
    if as_json:
        echo_json(found)
        return
    _show(found)


def _show(found: list[Entry]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for family in dict.fromkeys(entry.family for entry in found):
        console.print(f"\n[bold]{family}[/]")
        table = Table.grid(padding=(0, 2))
        table.add_column(width=14, no_wrap=True)
        table.add_column()
        for entry in (entry for entry in found if entry.family == family):
            table.add_row(f"  {entry.name}", entry.what)
            if entry.options:
                options = ", ".join(f"{key} {value}" for key, value in entry.options.items())
                table.add_row("", f"[dim]options: {options}[/]")
        console.print(table)
    console.print("\nmethod.name in params.yaml; options go under method.options.")
