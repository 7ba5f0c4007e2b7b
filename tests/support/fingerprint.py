"""Hashes of seeded trainings and of a whole synthetic campaign.

`python -m tests.support.fingerprint [trainings] [campaign]` prints both, or what is named. A change
that must not change results is measured before and after: on one machine both print the same. The
campaign is the demo's scenes made smaller: day and dusk, the real stages under DVC, git and the
ledger, with true masks in place of people and without services. Every line is the MD5 that DVC has
of an output at a tag, or the SHA-256 of a network's weights, and its name.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from db.session import open_ledger
from flows.domains.add import add_domain
from flows.loop import Loop
from flows.tick import tick
from flows.workspace.create import create_workspace
from pipeline import layout
from pipeline.config.params import parse_params
from pipeline.data.formats.images import load_mask
from pipeline.data.synthetic.domains import CLASSES, make_domain
from pipeline.files import sha256_file
from pipeline.records.manifest import write_manifest
from pipeline.runtime.torch_settings import settle_torch
from tests.pipeline.conftest import TINY_PARAMS, add_sample
from tests.support.fake_annotator import FakeAnnotator

METHODS = ("mean_teacher", "fixmatch", "cps")
SIZE: dict[str, Any] = {"height_px": 64, "width_px": 96}
SETTINGS: dict[str, Any] = {
    "image": SIZE,
    "model": {"options": {"decoder_channels": [32, 24, 16, 16, 8]}},
    "train": {"steps": 12, "learning_rate": 2e-3, "encoder_learning_rate": 2e-3},
    "acquire": {"query_size": 2},
    "loop": {"budget": 2},
}
COUNTS: dict[str, dict[str, Any]] = {
    "day": {"num_labelled": 3, "num_pool": 8, "num_val": 3, "num_test": 0},
    "dusk": {"num_labelled": 0, "num_pool": 8, "num_val": 3, "num_test": 0},
}


def trainings(folder: Path) -> Iterator[tuple[str, str]]:
    """The teacher's weights of one short training for each method."""
    settle_torch()
    from pipeline.stages import train_teacher

    for method in METHODS:
        root = folder / method
        plan = [("pool", True)] * 3 + [("pool", False)] * 4 + [("val", True)] * 2
        samples = [
            add_sample(root, f"day/{number:02}", split, number, masked=masked)
            for number, (split, masked) in enumerate(plan)
        ]
        write_manifest(root / layout.MANIFEST, samples)
        params = parse_params(TINY_PARAMS | {"method": {"name": method}})
        train_teacher.run(root, params)
        yield f"weights of {method}", sha256_file(root / layout.TEACHER / "model.safetensors")


def campaign(folder: Path) -> Iterator[tuple[str, str]]:
    """What DVC says of every out of every stage at every tag of two domains."""
    root, truth = folder / "workspace", folder / "truth"
    workspace = create_workspace(root, class_names=CLASSES, overrides=SETTINGS)
    people = FakeAnnotator(folder / "tool.json", CLASSES)
    loop = Loop(
        workspace=workspace,
        ledger=open_ledger(root / layout.LEDGER),
        log=lambda line: print(f"  {line}", file=sys.stderr),
        annotator_factory=lambda *_: people,
    )
    for seed, (name, counts) in enumerate(COUNTS.items()):
        scenes = truth / name
        make_domain(name, scenes, seed=seed, **SIZE, **counts)
        splits = scenes / "splits.csv"
        add_domain(root, name, images=scenes / "images", masks=scenes / "masks", splits=splits)
        said = tick(loop)
        while said.startswith("waiting"):
            for item_id in people.open_items():
                stem = item_id.split("/")[1]
                people.answer(item_id, load_mask(scenes / "masks" / f"{stem}.png", len(CLASSES)))
            said = tick(loop)
    loop.ledger.close()
    for tag in workspace.git.listed("tag", "--sort=creatordate"):
        if not workspace.git.files_at(tag, "dvc.lock"):
            continue  # nothing was computed yet
        lock = yaml.safe_load(workspace.git.show(tag, Path("dvc.lock")))
        for stage, entry in sorted(lock["stages"].items()):
            for out in entry["outs"]:
                yield f"{tag} {stage} {out['path']}", out["md5"]


def main() -> None:
    """Print the parts that are named, or both."""
    parts = {"trainings": trainings, "campaign": campaign}
    with tempfile.TemporaryDirectory() as folder:
        for part in [parts[name] for name in sys.argv[1:] or parts]:
            for name, digest in part(Path(folder)):
                print(f"{digest}  {name}", flush=True)


if __name__ == "__main__":
    main()
