"""How far is a fall that thresholds say to be believed? Rules compared on real networks, by day.

`python -m benchmarks.shift.rules --data DIR` trains networks on CamVid's day images of the official
train split, all of them or of one drive, and sets the fall of mIoU that each rule says beside the
true one: on held-out day images altered in each way (that one taken from the rehearsals), on the
same ones altered in several ways at once, and on the other drive. No rule is chosen by dusk; what
it says of dusk's train images stands apart. Six minutes on a GPU with `--workers 8`, hours on two
cores; what is there is not trained again. Writes shift_rules.md beside the other results.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.adaptation.trainings import SIZE
from benchmarks.camvid.day_and_dusk import DOMAINS, CamVid, evenly, locate, stage_laid_out
from benchmarks.methods.few_labels import with_deeplabv3plus
from benchmarks.shift.rules_report import AS_IT_IS, write_report
from benchmarks.support import RESULTS, device, read_json
from pipeline import layout
from pipeline.backtest import take_in
from pipeline.config.params import Params, parse_params
from pipeline.data.corruptions import ALTERATIONS, Alteration
from pipeline.files import write_json
from pipeline.inference.logits import pick_device
from pipeline.models import load_model
from pipeline.shift.corruption_calibration import altered_each_way, directions, parted, rehearse
from pipeline.shift.forward import (
    Picture,
    Preprocessing,
    answered,
    embedded,
    frozen_encoder,
    thinned,
)
from pipeline.shift.miou_estimate import measured_miou, threshold_miou
from pipeline.shift.predictions import Predictions, pixels_per_image
from pipeline.shift.time_blocks import Embeddings, runs_of
from pipeline.training import train_stage

DAY, DUSK = DOMAINS
WORK = Path("workspaces/shift_rules")  # git-ignored
BLOCK = 20
NUM_TARGETS, NUM_TOGETHER = 40, 16
DRIVES = ("0006r0", "0016e5")
LEARNT = ("all", "28", *DRIVES)
SEEDS = (0, 1)
NETWORKS = ("pspnet_mini-300", "deeplabv3plus-1000", "pspnet_mini-1000", "deeplabv3plus-300")


class Day(NamedTuple):
    """What is learnt by day, judged by, and asked about; ids."""

    rows: Mapping[str, str]
    val: Sequence[str]
    target: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class NetworkGroup:
    """The networks of one set of images and one seed."""

    data: Path
    learnt: str
    seed: int
    kept: Path

    def file(self, network: str) -> Path:
        """Where the figures of one network go."""
        return self.kept / f"{network}-{self.learnt}-seed-{self.seed}.json"


def main() -> None:
    """Train what is missing, and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="holds camvid/ and encoders/")
    parser.add_argument("--kept", type=Path, default=RESULTS / "shift_rules")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    args = parser.parse_args()
    parts = [
        NetworkGroup(data=args.data, learnt=learnt, seed=seed, kept=args.kept)
        for seed in SEEDS
        for learnt in LEARNT
    ]
    args.kept.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as pool:
        list(pool.map(partial(run, networks=args.networks), parts))
    write_report([read_json(file) for file in sorted(args.kept.glob("*.json"))])


def run(part: NetworkGroup, networks: Iterable[str]) -> None:
    """Train the networks of a part one after the other, and write the figures of each."""
    missing = [network for network in networks if not part.file(network).exists()]
    if not missing:
        return
    camvid = locate(part.data)
    day = dealt(camvid, part.learnt)
    root = laid_out(camvid, day, WORK / f"{part.learnt}-{part.seed}")
    looks = Looks(camvid, day)
    for network in missing:
        params = params_of(camvid, network, part.seed)
        name = params.method.name
        train_stage("train_teacher", root, params, method_name=name, model=layout.TEACHER)
        said = {"network": network, "learnt": part.learnt, "seed": part.seed, "device": device()}
        write_json(part.file(network), said | looks.figures(root))


def dealt(camvid: CamVid, learnt: str) -> Day:
    """Blocks of neighbours; for a drive by itself the other one is what is asked about."""
    stems = [stem for stem, split in sorted(camvid.rows(DAY).items()) if split != "test"]
    other: list[str] = []
    if learnt in DRIVES:
        other = [stem for stem in stems if drive(stem) != learnt]
        stems = [stem for stem in stems if drive(stem) == learnt]
    every = 4 if other else 5
    place = {stem: index // BLOCK % every for index, stem in enumerate(stems)}
    val = [stem for stem in stems if place[stem] == 2]
    target = other or [stem for stem in stems if place[stem] == 4]
    rest = [stem for stem in stems if stem not in {*val, *target}]
    labelled = evenly(rest, 28) if learnt == "28" else rest
    rows = dict.fromkeys(rest, "pool") | dict.fromkeys(labelled, "labelled")
    return Day(rows | dict.fromkeys(val, "val"), val, target)


def drive(stem: str) -> str:
    """The sequence that a frame is of."""
    return stem.split("_")[0].lower()


def laid_out(camvid: CamVid, day: Day, work: Path) -> Path:
    """A folder like a workspace's."""
    shutil.rmtree(work, ignore_errors=True)
    camvid.lay_out(DAY, work / f"{DAY}-source", day.rows)
    take_in(work / "root", stage_laid_out(camvid, DAY, work))
    return work / "root"


def params_of(camvid: CamVid, network: str, seed: int) -> Params:
    """DeepLabv3+ with 1,000 steps as in `benchmarks.adaptation`, the others by FixMatch."""
    model, steps = network.rsplit("-", 1)
    settings = camvid.settings(seed=seed, steps=int(steps))
    as_adapted = network == "deeplabv3plus-1000"
    if model == "deeplabv3plus":
        settings = with_deeplabv3plus(settings, SIZE if as_adapted else settings["image"])
    method = {"name": "supervised" if as_adapted else "fixmatch"}
    settings["method"] = settings.get("method", {}) | method
    head = {"classes": list(camvid.classes), "domain": DAY, "domains": {DAY: {}}}
    return parse_params({**head, "loop": {"budget": 100}, **settings})


class Looks:
    """The images that networks are asked about, and how unlike they are."""

    def __init__(self, camvid: CamVid, day: Day) -> None:
        """Embed them all."""
        self._camvid = camvid
        self._image = {path.stem: path for path in (camvid.data / "images").iterdir()}
        self.val = self._pictures(day.val)
        self.tried = altered_each_way(self.val)
        asked = thinned(self._pictures(day.target), NUM_TARGETS)
        ways: dict[str, Alteration | None] = {AS_IT_IS: None, **ALTERATIONS, **together()}
        self.asked = {
            name: [each._replace(altered=way) for each in asked] for name, way in ways.items()
        }
        dusk = [stem for stem, split in camvid.rows(DUSK).items() if split != "test"]
        self.asked[DUSK] = self._pictures(dusk)
        params = params_of(camvid, NETWORKS[0], seed=0)
        self._preprocessing = Preprocessing(
            params.image, params.embed.normalisation, pick_device("auto"), tiles=False
        )
        self._encoder = frozen_encoder(params.embed, self._preprocessing.device)
        known_NE, tried_NE = (
            self._embedded(shown) for shown in (self._pictures(day.rows), self.tried)
        )
        self.direction = {
            name: directions(known_NE, self._embedded(shown), tried_NE)
            for name, shown in self.asked.items()
        }

    def figures(self, root: Path) -> dict[str, Any]:
        """Falls that thresholds say, and true ones, of the network of a folder."""
        model = load_model(root / layout.TEACHER)
        assert model.network is not None
        network = model.network.eval().to(self._preprocessing.device)
        preprocessing = self._preprocessing._replace(
            image=model.image, normalisation=model.config["normalisation"], tiles=True
        )

        def says(shown: Sequence[Picture]) -> Predictions:
            pixels = pixels_per_image(NUM_TARGETS, len(self._camvid.classes))
            return answered(
                (network, None), shown, preprocessing, pixels, runs_of(len(shown), BLOCK)
            )

        known = says(self.val)
        source = measured_miou(known)
        asked = {}
        for name, shown in self.asked.items():
            found = says(shown)
            falls = source - threshold_miou(known, found), source - measured_miou(found)
            asked[name] = {"said": falls[0], "true": falls[1], "direction": self.direction[name]}
        return {
            "source": source,
            "rehearsals": {
                each.name: {"said": each.expected_fall, "true": each.true_fall}
                for each in rehearse(*parted(says(self.tried)))
            },
            "asked": asked,
        }

    def _pictures(self, stems: Iterable[str]) -> list[Picture]:
        masks = self._camvid.masks
        return [Picture(s, self._image[s], masks / f"{s}.png") for s in sorted(stems)]

    def _embedded(self, pictures: Sequence[Picture]) -> Embeddings:
        return embedded(self._encoder, pictures, self._preprocessing, "embed")


def together(count: int = NUM_TOGETHER, seed: int = 0) -> dict[str, Alteration]:
    """Several changes at once, none of them among the rehearsals; the same each time."""
    rng = np.random.default_rng(seed)
    found = {}
    for index in range(count):
        tint = rng.uniform(-0.2, 0.2, size=3)
        gain = rng.uniform(0.3, 1.0) * (1 + tint)
        found[f"together {index}"] = Alteration(
            gain=(float(gain[0]), float(gain[1]), float(gain[2])),
            gamma=float(np.exp(rng.uniform(-0.6, 0.6))),
            lift=float(rng.uniform(0, 0.25)) if rng.random() < 0.5 else 0.0,
            blur=float(rng.uniform(0, 0.008)) if rng.random() < 0.5 else 0.0,
            noise=float(rng.uniform(0, 0.05)) if rng.random() < 0.3 else 0.0,
            grey=bool(rng.random() < 0.1),
        )
    return found


if __name__ == "__main__":
    torch.set_num_threads(2)
    main()
