"""Does the shift report tell the truth of the loop's own networks, not only of small heads?

`python -m benchmarks.shift.networks --data DIR` makes the report on CamVid day -> dusk, as a
workspace makes it, for the day models that `benchmarks.adaptation` has trained (all day labels),
and sets beside it what they reach on dusk's test images, which that benchmark has read. Writes
shift_networks.{json,md} beside the other results.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.adaptation.trainings import DAY, DUSK, KEPT, WORK, AdaptationRun, Bench
from benchmarks.camvid.day_and_dusk import locate
from benchmarks.shift.pairs import KEPT as FIGURES
from benchmarks.shift.pairs import row
from benchmarks.support import RESULTS, machine, read_json, table
from pipeline.files import write_json, write_text
from pipeline.records.manifest import Sample
from pipeline.shift.forward import Picture
from pipeline.shift.of_workspace import Asked, shift


def main() -> None:
    """One report per seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="camvid/, dsb2018/, encoders/")
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    bench = Bench(locate(args.data), args.data / "dsb2018", WORK)
    found = []
    for seed in range(args.seeds):
        run = AdaptationRun(kind="as_is", labels=0, seed=seed)
        truth = read_json(KEPT / f"{run.name}.json")["test"][DUSK]
        found.append(measured(bench, run) | {"truth": truth, "seed": seed})
    write_json(RESULTS / "shift_networks.json", found)
    write_text(RESULTS / "shift_networks.md", "\n".join(page(found)))


def measured(bench: Bench, run: AdaptationRun) -> dict[str, Any]:
    """The report's figures on one day model."""
    bench.place_teacher(run)
    day = [s for s in bench.clean() if s.domain == DAY and (s.labelled or s.split == "val")]
    asked = Asked(
        a=DAY,
        b=DUSK,
        known=pictures(bench.root, day),
        val=pictures(bench.root, [s for s in day if s.split == "val"], masks=True),
        target=pictures(bench.root, [s for s in bench.clean() if s.domain == DUSK]),
    )
    whole = shift(bench.root, bench.params(run), asked)
    return {name: whole[name] for name in FIGURES}


def pictures(root: Path, samples: Sequence[Sample], *, masks: bool = False) -> list[Picture]:
    """Files of the samples, their masks only where asked for."""
    return [Picture(s.sample_id, root / s.image, root / s.mask if masks else None) for s in samples]


def page(found: Sequence[dict[str, Any]]) -> list[str]:
    """The Markdown."""
    return [
        "# Does the shift report tell the truth of the loop's own networks?",
        "",
        f"`python -m benchmarks.shift.networks --data DIR`: CamVid day -> dusk, {machine()}. "
        f"DeepLabv3+ trained on all day labels by `benchmarks.adaptation`, {len(found)} seeds; the "
        "truth is their mIoU on dusk's test images. In points of mIoU, means over the seeds; "
        "docs/shift.md says what the figures mean.",
        "",
        *table([row("CamVid day -> dusk", found)]),
        "",
        "| seed | expected on dusk | truth |",
        "|---|---|---|",
        *(
            "| {} | {:.1f} ({:.1f} to {:.1f}) | {:.1f} |".format(
                each["seed"], *(100 * value for value in each["expected_miou"]), 100 * each["truth"]
            )
            for each in found
        ),
        "",
    ]


if __name__ == "__main__":
    main()
