"""Does the shift report tell the truth? Estimates without labels set beside what labels say.

`python -m benchmarks.shift --data DIR --cache DIR` runs every case with `ssl-loop shift --fast` on
five seeds of the head and writes shift.json and shift.md beside the other results. DIR holds
camvid/, dsb2018/ and encoders/. The truth of a target is read once the estimate is made and
chooses nothing: how mIoU is estimated was chosen among the pairs of `--choose`, none of which has
a target of the cases.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.camvid.day_and_dusk import ENCODER, locate
from benchmarks.support import RESULTS, machine, read_json, table
from pipeline.config.params import EmbedParams, ImageParams
from pipeline.data.synthetic.domains import make_domain
from pipeline.files import write_json, write_text
from pipeline.shift import of_folder
from pipeline.shift.of_folder import CheckOn

BLOCK = 20  # consecutive frames
Row = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class ShiftPair:
    """One pair of domains."""

    folder: str
    """Under DIR; "" for synthetic images."""
    domain_of: Callable[[Row], tuple[str, str] | None]
    """(domain, split) of a row of splits.csv; None: left out."""
    a: str
    b: str
    check_on: CheckOn
    size: tuple[int, int] = (192, 256)
    run_length: int | None = None


def as_given(row: Row) -> tuple[str, str]:
    """The domain and split that the data set says."""
    return row["domain"], row["split"]


def sequence(row: Row) -> tuple[str, str] | None:
    """Every sequence as a domain, without the official val split: a burst of near-duplicates."""
    return None if row["split"] == "val" else (row["sequence"].lower(), "train")


def seq05vd(row: Row) -> tuple[str, str] | None:
    """Day as it teaches, and the one day sequence that does not."""
    if row["domain"] != "day" or row["split"] == "val":
        return None
    return ("seq05vd", "test") if row["split"] == "test" else ("day", "train")


class Alternate:
    """Every other 20 frames of each day sequence of the train split."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def __call__(self, row: Row) -> tuple[str, str] | None:
        """Rows come in order of frames."""
        if row["domain"] != "day" or row["split"] != "train":
            return None
        place = self._seen.get(row["sequence"], 0)
        self._seen[row["sequence"]] = place + 1
        return ("day_b" if place // BLOCK % 2 else "day_a"), "train"


CASES = {
    "CamVid day -> dusk": ShiftPair(
        folder="camvid", domain_of=as_given, a="day", b="dusk", check_on="test"
    ),
    "CamVid day -> day": ShiftPair(
        folder="camvid", domain_of=Alternate(), a="day_a", b="day_b", check_on="all",
        run_length=BLOCK,
    ),
    "CamVid day -> Seq05VD": ShiftPair(
        folder="camvid", domain_of=seq05vd, a="day", b="seq05vd", check_on="all"
    ),
    "synthetic day -> dusk": ShiftPair(
        folder="", domain_of=as_given, a="day", b="dusk", check_on="all", size=(96, 128)
    ),
    "DSB2018 fluorescence -> purple_on_white": ShiftPair(
        folder="dsb2018", domain_of=as_given, a="fluorescence", b="purple_on_white",
        check_on="all", size=(256, 256),
    ),
}  # fmt: skip
CHOSEN_ON = {
    f"{folder} {a} -> {b}": ShiftPair(
        folder=folder, domain_of=domain_of, a=a, b=b, check_on="all", size=size
    )
    for folder, domain_of, size, a, b in (
        ("camvid", sequence, (192, 256), "0016e5", "0006r0"),
        ("camvid", sequence, (192, 256), "0006r0", "0016e5"),
        ("dsb2018", as_given, (256, 256), "fluorescence", "purple_on_purple"),
        ("dsb2018", as_given, (256, 256), "fluorescence", "brightfield_gray"),
        ("dsb2018", as_given, (256, 256), "purple_on_purple", "fluorescence"),
        ("dsb2018", as_given, (256, 256), "purple_on_purple", "brightfield_gray"),
    )
}
KEPT = (
    "verdict",
    "proxy_a_distance",
    "p_value",
    "novelty",
    "run_length",
    "num_images",
    "expected_miou",
    "source_miou",
    "expected_by_threshold",
    "expected_by_chance",
    "entropy",
    "confidence",
    "disagreement",
    "class_prior_js",
    "frechet_distance",
    "frechet_within",
    "fall_scale",
    "rehearsals",
)


def main() -> None:
    """Run what was asked for; write the table of everything."""
    args = arguments()
    file = RESULTS / "shift.json"
    kept = read_json(file) if file.exists() else {"cases": {}, "chosen_on": {}}
    asked = [("cases", name, CASES[name]) for name in args.cases]
    asked += [("chosen_on", name, case) for name, case in CHOSEN_ON.items() if args.choose]
    for group, name, case in asked:
        kept[group][name] = measured(case, args)
        write_json(file, kept)  # each as it ends
        write_text(RESULTS / "shift.md", report(kept["cases"], kept["chosen_on"]))


def arguments() -> argparse.Namespace:
    """What to run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="holds the sets and encoders/")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--choose", action="store_true", help="also the pairs chosen on")
    parser.add_argument("--cache", type=Path, required=True, help="where features are kept")
    return parser.parse_args()


def measured(case: ShiftPair, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Figures per seed, with `truth`."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "data"
        lay_out(case, args.data, root)
        request = of_folder.ShiftRequest(
            root=root,
            a=case.a,
            b=case.b,
            settings=settings(case, args.data),
            cache=args.cache,
            run_length=case.run_length,
            check_on=case.check_on,
        )
        bench = of_folder.bench_of(request)
        found = []
        for seed in range(args.seeds):
            whole = of_folder.compared(bench, of_folder.with_seed(request, seed))
            (truth,) = whole["truth"].values()
            found.append({name: whole[name] for name in KEPT} | {"truth": truth, "seed": seed})
            print(case.a, case.b, seed, found[-1], flush=True)
        return found


def lay_out(case: ShiftPair, data: Path, root: Path) -> None:
    """images/, masks/, classes.csv and a splits.csv with the case's own domains."""
    root.mkdir()
    if not case.folder:
        synthetic(root)
        return
    source = data / case.folder
    for name in ("images", "masks", "classes.csv"):
        (root / name).symlink_to((source / name).resolve())
    with (source / "splits.csv").open(newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["id"])
    kept = [(row["id"], case.domain_of(row)) for row in rows]
    write_splits(root, [(name, *own) for name, own in kept if own is not None])


def synthetic(root: Path) -> None:
    """60 images by day and 40 at dusk."""
    rows = []
    for domain, count in (("day", 60), ("dusk", 40)):
        apart = root / domain
        make_domain(domain, apart, num_labelled=count, num_pool=0, num_val=0)
        for kind in ("images", "masks"):
            (root / kind).mkdir(exist_ok=True)
            for path in sorted((apart / kind).iterdir()):
                shutil.move(path, root / kind / f"{domain}_{path.name}")
        shutil.copyfile(apart / "classes.csv", root / "classes.csv")
        names = sorted(path.stem for path in (root / "images").glob(f"{domain}_*"))
        rows += [(name, domain, "train") for name in names]
    write_splits(root, rows)


def write_splits(root: Path, rows: Sequence[tuple[str, str, str]]) -> None:
    """splits.csv from (id, domain, split)."""
    lines = [",".join(row) for row in (("id", "domain", "split"), *rows)]
    write_text(root / "splits.csv", "\n".join(lines) + "\n")


def settings(case: ShiftPair, data: Path) -> of_folder.ShiftSettings:
    """The frozen encoder with its weights, at the case's size."""
    height_px, width_px = case.size
    return of_folder.ShiftSettings(
        embed=EmbedParams(
            encoder=ENCODER,
            encoder_weights=str(locate(data).weights),
            encoder_options={"pad_type": "same"},
            normalisation="symmetric",
        ),
        image=ImageParams(height_px=height_px, width_px=width_px),
    )


def report(
    found: Mapping[str, Sequence[Mapping[str, Any]]],
    chosen: Mapping[str, Sequence[Mapping[str, Any]]],
) -> str:
    """shift.md."""
    lines = [
        "# Does the shift report tell the truth?",
        "",
        "`python -m benchmarks.shift --data DIR --cache DIR --choose`: `ssl-loop shift --fast`, in "
        f"points of mIoU, means over seeds of the head, {machine()}. No estimate sees a mask of "
        "its target; the truth is read afterwards. docs/shift.md says what the figures mean.",
        "",
        *table([row(name, found[name]) for name in CASES if name in found]),
    ]
    if chosen:
        lines += [
            "",
            "## What the estimator was chosen on",
            "",
            "Pairs of source sequences and domains; none is a target above.",
            "",
            *table([row(name, chosen[name]) for name in CHOSEN_ON if name in chosen]),
        ]
    return "\n".join([*lines, ""])


def row(name: str, seeds: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """One pair over its seeds."""
    first = seeds[0]
    apart = first["proxy_a_distance"]
    off = [100 * (each["expected_miou"][0] - each["truth"]) for each in seeds]
    plain = [100 * (each["expected_by_threshold"] - each["truth"]) for each in seeds]
    scale = [each["fall_scale"] for each in seeds]
    inside = sum(
        each["expected_miou"][1] <= each["truth"] <= each["expected_miou"][2] for each in seeds
    )
    mean = [sum(100 * each["expected_miou"][at] for each in seeds) / len(seeds) for at in range(3)]
    truth = sum(100 * each["truth"] for each in seeds) / len(seeds)
    source = sum(100 * each["source_miou"][0] for each in seeds) / len(seeds)
    return {
        "pair": name,
        "verdict": ", ".join(sorted({each["verdict"] for each in seeds})),
        "proxy A-distance": f"{apart[0]:.2f} ({apart[1]:.2f} to {apart[2]:.2f})",
        "p": f"{first['p_value']:.4f}",
        "novelty": f"{first['novelty']:.2f}",
        "on val of A": f"{source:.1f}",
        "expected on B": f"{mean[0]:.1f} ({mean[1]:.1f} to {mean[2]:.1f})",
        "truth": f"{truth:.1f}",
        "off": f"{min(off):+.1f} to {max(off):+.1f}",
        "off by thresholds alone": f"{min(plain):+.1f} to {max(plain):+.1f}",
        "scale": f"{min(scale):.2f} to {max(scale):.2f}",
        "truth in the interval": f"{inside} of {len(seeds)}",
    }


if __name__ == "__main__":
    main()
