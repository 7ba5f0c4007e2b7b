"""The command `ssl-loop shift`. Imports are inside: `--help` answers at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flows.cli.options import WORKSPACE, cache, file_to_write, settings
from pipeline.runtime.torch_settings import settle_torch

if TYPE_CHECKING:
    from pipeline.shift.comparison import ShiftReport


@click.command("shift")
@click.argument("a")
@click.argument("b")
@WORKSPACE
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="With --fast: a folder with images/, masks/, classes.csv and splits.csv (id, split, "
    "domain) instead of a workspace.",
)
@click.option(
    "--fast",
    is_flag=True,
    help="A small head on features of a frozen encoder instead of the teacher; needs --data.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of the head; with --fast.")
@click.option(
    "--check-on",
    type=click.Choice(["test", "all"]),
    help="With --fast: set the truth beside the estimate, by the masks of B's split test or of "
    "all of B.",
)
@click.option(
    "--run-length",
    type=click.IntRange(min=1),
    help="Consecutive images that count as one [default: as long as they look alike, at most 20].",
)
@settings("With --fast: a knob of embed or image, such as embed.encoder_weights=FILE.")
@file_to_write("--json", "Write the report there.")
@file_to_write("--html", "Write a page with maps, images and histograms there.")
@cache("With --fast: where features are kept")
def shift(a: str, b: str, **options: Any) -> None:
    """How unlike domain B is from A, and what the model is worth there, without a label of B.

    A is a domain whose images are known, or `labelled`: all others that have labels. B may still
    wait to be taken in. Says none, mild or strong, the mIoU to expect with an interval, and what to
    do. docs/shift.md says how far it can be trusted.

    \b
    ssl-loop shift labelled dusk --html shift.html
    ssl-loop shift day dusk --fast --data camvid --set embed.encoder_weights=FILE
    """
    settle_torch()
    from pipeline.files import write_json
    from pipeline.shift import shift_page

    report = _fast(a, b, **options) if options["fast"] else _in_workspace(a, b, **options)
    if options["json_path"]:
        write_json(options["json_path"], report.found)
    if options["html_path"]:
        shift_page.render(report.found, report.images, options["html_path"])
    for sentence in report.found["in_words"]:
        click.echo(sentence)


def _in_workspace(a: str, b: str, **options: Any) -> ShiftReport:
    for name in ("data", "check_on", "settings"):
        if options[name]:
            raise click.UsageError(f"--{name.replace('_', '-')} goes with --fast")
    from flows.domains.shift_on_arrival import report

    return report(options["workspace"], a, b, run_length=options["run_length"])


def _fast(a: str, b: str, **options: Any) -> ShiftReport:
    if options["data"] is None:
        raise click.UsageError("--fast looks at a folder of labelled images: say --data DIR")
    settle_torch()
    from flows.workspace.settings import parse_settings
    from pipeline.backtest.run import default_cache
    from pipeline.config.block import parse_block
    from pipeline.shift import of_folder

    asked = parse_block(
        of_folder.ShiftSettings, parse_settings(options["settings"]), source="--set"
    )
    request = of_folder.ShiftRequest(
        root=options["data"],
        a=a,
        b=b,
        settings=asked,
        cache=options["cache"] or default_cache(),
        seed=options["seed"],
        run_length=options["run_length"],
        check_on=options["check_on"],
    )
    return of_folder.shift(request)
