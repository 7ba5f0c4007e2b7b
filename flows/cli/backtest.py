"""The command `ssl-loop backtest`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from flows.cli.options import Command, cache, file_to_write, settings
from pipeline.campaign.acts import MOST_CORRECTIONS
from pipeline.data.formats import FORMATS
from pipeline.runtime.torch_settings import settle_torch

UNITS = ("image", "region", "correction")


def _count(flag: str, default: int, text: str, *, least: int = 1) -> Callable[[Command], Command]:
    return click.option(
        flag, type=click.IntRange(min=least), default=default, show_default=True, help=text
    )


@click.command("backtest")
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--fast",
    "mode",
    flag_value="fast",
    help="A small head on features of a frozen encoder: minutes.",
)
@click.option(
    "--full",
    "mode",
    flag_value="full",
    help="The model and method of the loop, trained anew after every query: hours.",
)
@click.option(
    "--strategies",
    default="default,random",
    show_default=True,
    metavar="NAME[,NAME...]",
    help="What to compare; `default` is the one that acquire.strategy says.",
)
@_count("--start", 8, "Images labelled before the first query.")
@_count("--rounds", 6, "Queries answered.")
@_count(
    "--query-size",
    4,
    "Images, or regions, per query; with several units whole images, and of the others what takes "
    "about as long.",
)
@click.option(
    "--unit",
    "--query-unit",
    "units",
    default="image",
    show_default=True,
    metavar="UNIT[,UNIT...]",
    help="Ask for whole images (image), for square regions of any of them (region), or to correct "
    "a few wrong areas of an image (correction). Several are set beside each other by minutes.",
)
@_count("--corrections", MOST_CORRECTIONS, "Wrong areas that people correct in an image, at most.")
@_count(
    "--region-size",
    40,
    "Side of a region in pixels of the images at image.height_px x width_px.",
    least=4,
)
@_count("--seeds", 3, "Repetitions; each has a start set of its own that all strategies share.")
@click.option(
    "--score-on",
    type=click.Choice(["val", "test"]),
    default="val",
    show_default=True,
    help="val: blocks held out of the train split, per domain.",
)
@click.option(
    "--format",
    "file_format",
    type=click.Choice(sorted(FORMATS)),
    default="folder",
    show_default=True,
    help="How the files lie in DIRECTORY.",
)
@click.option(
    "--workspace",
    "-w",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Take the knobs of this workspace's params.yaml where --set says nothing.",
)
@settings(
    "A knob of embed, image or acquire, such as embed.encoder_weights=FILE; with --fast also of "
    "correct (act, uncorrected_weight), with --full of model, train or method."
)
@file_to_write("--json", "Write the result there.")
@file_to_write("--html", "Write a page with the curves there.")
@cache("Where features and finished rounds are kept, so that a stopped run goes on")
def backtest(directory: Path, mode: str | None, **options: Any) -> None:
    """Does choosing images pay on your data? Replays the loop on a labelled folder.

    DIRECTORY holds images/, masks/ and classes.csv; people's answers are its masks. Every strategy
    asks, is answered, learns, and is judged; the verdict says whether it beats asking at random.
    With a splits.csv (id, split, domain) the images of its split train may be asked for; else all.

    \b
    ssl-loop backtest camvid --fast --strategies default,random --seeds 5 --html backtest.html
    """
    if mode is None:
        raise click.UsageError("say --fast (minutes) or --full (real trainings: hours)")
    settle_torch()
    from pipeline.backtest import backtest_page, run, units
    from pipeline.files import write_json

    request = run.BacktestRequest(**_request(directory, mode, **options))
    asked = _units(options["units"])
    if len(asked) > 1 and options["html_path"]:
        raise click.UsageError("--html draws one unit; of several --json holds the result")
    plans = units.plans_of(request.plan, asked, options["region_size"], options["corrections"])
    if len(asked) > 1:
        result = units.compare_units(request, plans)
    else:
        result = run.run(replace(request, plan=plans[asked[0]]))
    if options["json_path"]:
        write_json(options["json_path"], result)
    if options["html_path"]:
        backtest_page.render(result, options["html_path"])
    click.echo(result["verdict"])


def _units(text: str) -> list[Any]:
    """The units named; UsageError for an unknown one and for one named twice."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    wrong = [name for name in names if name not in UNITS or names.count(name) > 1]
    if wrong or not names:
        raise click.UsageError(f"--unit {text}: expected some of {', '.join(UNITS)}, each once")
    return names


def _request(directory: Path, mode: str, **options: Any) -> dict[str, Any]:
    from flows.workspace.settings import parse_settings
    from pipeline import layout
    from pipeline.backtest.plan import Plan
    from pipeline.config.params import load_params

    names = tuple(name.strip() for name in options["strategies"].split(",") if name.strip())
    shape = {name: options[name] for name in ("start", "rounds", "query_size", "seeds")}
    workspace = options["workspace"]
    return {
        "root": directory,
        "plan": Plan(strategies=names, **shape),
        "mode": mode,
        "score_on": options["score_on"],
        "file_format": options["file_format"],
        "workspace": load_params(workspace / layout.PARAMS) if workspace else None,
        "settings": parse_settings(options["settings"]),
        "cache": options["cache"],
    }
