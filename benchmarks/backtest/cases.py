"""Does choosing images pay? Backtests of CamVid and DSB2018, and of regions of CamVid.

`python -m benchmarks.backtest --data DIR` runs whatever is missing, one case after the other (fast
ones; camvid_full, with real trainings of an hour or two on two cores, where it is named), and
writes backtest/<case>.{json,svg} and backtest.md beside the other results. Finished replays are
kept (--cache), so a stopped run goes on and a new strategy costs its own replays only. Judged on
blocks held out of the train split; `--score-on test` judges on the split test instead, writes
<case>-test.json and records the day in it: to be done when nothing is left to choose.
"""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.camvid.day_and_dusk import CamVid, locate
from benchmarks.methods import few_labels as methods
from benchmarks.methods.methods_report import ALL as ALL_LABELS
from benchmarks.support import RESULTS, machine, read_json, table
from pipeline.acquisition import DEFAULT, STRATEGIES
from pipeline.backtest.backtest_page import columns_of, curves_svg, rows_of
from pipeline.backtest.plan import Plan
from pipeline.backtest.run import BacktestRequest, run
from pipeline.config.params import Params
from pipeline.files import write_json, write_text

ALL = (DEFAULT, "random", *sorted(set(STRATEGIES) - {"random"}))


@dataclass(frozen=True, kw_only=True)
class BacktestCase:
    """One data set and one way to ask."""

    folder: str
    size: tuple[int, int]
    """Height and width in pixels of what the encoder sees."""
    start: int
    rounds: int
    query_size: int
    region_px: int | None = None
    method: str | None = None
    """Trained by the loop's stages, as in benchmarks.methods; None: a small head."""


CASES = {
    "camvid": BacktestCase(folder="camvid", size=(192, 256), start=12, rounds=8, query_size=8),
    "dsb2018": BacktestCase(folder="dsb2018", size=(256, 256), start=8, rounds=6, query_size=4),
    # 1 % of the pixels to start, 0.5 % more in each round: 192 regions an image, 295 images.
    "camvid_regions": BacktestCase(
        folder="camvid", size=(192, 256), start=3, rounds=8, query_size=283, region_px=16
    ),
    # 768 regions an image: 1 % of the pixels to start, 4 % after six rounds.
    "camvid_regions_8": BacktestCase(
        folder="camvid", size=(192, 256), start=3, rounds=8, query_size=1126, region_px=8
    ),
    # Up to 12 % of the images.
    "camvid_full": BacktestCase(
        folder="camvid", size=(128, 160), start=11, rounds=3, query_size=8, method="mean_teacher"
    ),
}
FAST = tuple(name for name, case in CASES.items() if case.method is None)
STEPS = 1000


def main() -> None:
    """Run the cases, then write the table of all that are kept."""
    args = arguments()
    camvid = locate(args.data)
    for name in args.cases:
        keep(name, run(request_of(CASES[name], args, camvid)))


def keep(name: str, found: dict[str, Any]) -> None:
    """<case>.json and .svg, and backtest.md anew; of the split test, every day it was read."""
    folder, on_test = RESULTS / "backtest", found["score_on"] == "test"
    kept = folder / f"{name}{'-test' if on_test else ''}.json"
    if on_test:
        seen = read_json(kept)["test_read"] if kept.exists() else []
        found["test_read"] = [*seen, datetime.datetime.now(datetime.UTC).date().isoformat()]
    write_json(kept, found)
    write_text(kept.with_suffix(".svg"), curves_svg(found))
    write_report({file.stem: read_json(file) for file in sorted(folder.glob("*.json"))})


def arguments() -> argparse.Namespace:
    """What to run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="holds the sets and encoders/")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(FAST))
    parser.add_argument("--strategies", nargs="+", choices=(DEFAULT, *STRATEGIES), default=ALL)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, help="fewer than the case has, for a try")
    parser.add_argument("--score-on", choices=("val", "test"), default="val")
    parser.add_argument("--cache", type=Path, help="as of ssl-loop backtest")
    return parser.parse_args()


def request_of(case: BacktestCase, args: argparse.Namespace, camvid: CamVid) -> BacktestRequest:
    """The backtest of a case, as `ssl-loop backtest` would ask for it."""
    plan = Plan(
        strategies=tuple(args.strategies),
        start=case.start,
        rounds=args.rounds or case.rounds,
        query_size=case.query_size,
        seeds=args.seeds,
        region_px=case.region_px,
    )
    height_px, width_px = case.size
    fast = {
        "embed": camvid.settings(seed=0, steps=STEPS)["embed"],
        "image": {"height_px": height_px, "width_px": width_px},
    }
    return BacktestRequest(
        root=args.data / case.folder,
        plan=plan,
        mode="full" if case.method else "fast",
        score_on=args.score_on,
        workspace=trained_by(case, camvid) if case.method else None,
        settings={} if case.method else fast,
        cache=args.cache,
    )


def trained_by(case: BacktestCase, camvid: CamVid) -> Params:
    """The knobs of benchmarks.methods."""
    assert case.method is not None
    training = methods.MethodRun(
        method=case.method,
        model="pspnet_mini",
        labelled_fraction=ALL_LABELS,
        seed=0,
        steps=STEPS,
        image_size=f"{case.size[0]}x{case.size[1]}",
    )
    return methods.params_of(camvid, training, "auto")


def write_report(found: Mapping[str, Mapping[str, Any]]) -> None:
    """backtest.md from the results there are."""
    lines = [
        "# Does choosing images pay?",
        "",
        "`python -m benchmarks.backtest --data DIR`: `ssl-loop backtest --fast`, in points of mIoU "
        f"(docs/backtest.md says how to read it), {machine()}.",
        "",
    ]
    for name, result in found.items():
        lines += [f"## {name}", "", *section(name, result), ""]
    write_text(RESULTS / "backtest.md", "\n".join(lines))


def section(name: str, result: Mapping[str, Any]) -> Sequence[str]:
    """One case: what was run, table, curves."""
    days = ", ".join(result.get("test_read", []))
    read = f" (read {days})" if days else ""
    return [
        f"{result['num_pool']} images to ask for, {result['num_scored']} of {result['score_on']} "
        f"to judge by{read}, {result['num_seeds']} seed(s); all masks: "
        f"{100 * result['full_supervision_miou']:.1f}. `default`: `{result['default']}`. Model: "
        f"{result['model']}.",
        "",
        *table(
            [
                {"strategy": row, **dict(zip(columns_of(result), figures, strict=True))}
                for row, figures in rows_of(result)
            ]
        ),
        "",
        f"![Learning curves of {name}](backtest/{name}.svg)",
    ]


if __name__ == "__main__":
    main()
