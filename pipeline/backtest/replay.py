"""The real stages replayed in a plain folder laid out like a workspace.

What people would answer is copied from a folder of true masks.
"""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from pipeline import layout
from pipeline.config.params import Params
from pipeline.errors import DataError
from pipeline.files import replacing, sha256_file
from pipeline.reading import read
from pipeline.records.evaluation import parse_evaluation
from pipeline.records.manifest import read_manifest, with_mask, write_manifest
from pipeline.records.query import read_query
from pipeline.runtime.torch_settings import settle_torch
from pipeline.stages import STAGES


def replay_round(root: Path, params: Params) -> dict[str, Any]:
    """Run every stage of one round in `root`; the round's metrics/evaluation.json."""
    settle_torch()
    for stage, module in STAGES.items():
        run = importlib.import_module(module).run
        if stage == "embed":
            for domain in params.domains:
                run(root, params, domain=domain)
        else:
            run(root, params)
    return parse_evaluation(read(root / layout.EVALUATION))


def answer_query(root: Path, truth: Path, skipped: Collection[str] = ()) -> list[str]:
    """Give every sample of query.csv but `skipped` its mask `truth/<stem>.png`; the ids answered.

    DataError, before anything is copied, names the masks that `truth` lacks.
    """
    rows = read_query(root / layout.QUERY)
    asked = [row.sample_id for row in rows if row.sample_id not in skipped]
    absent = [name for name in asked if not _true_mask(truth, name).exists()]
    if absent:
        raise DataError(f"{truth}: no mask for {', '.join(absent)}")
    samples = []
    for sample in read_manifest(root / layout.MANIFEST):
        if sample.sample_id in asked:
            mask = layout.sample_png(layout.masks_dir(sample.domain), Path(sample.image).stem)
            with replacing(root / mask) as beside:
                shutil.copyfile(_true_mask(truth, sample.sample_id), beside)
            digest = sha256_file(root / mask)
            sample = with_mask(sample, mask=mask.as_posix(), sha256=digest, split=sample.split)
        samples.append(sample)
    write_manifest(root / layout.MANIFEST, samples)
    return asked


def hand_over_teacher(root: Path) -> None:
    """Copy the round's teacher to where the next round starts from."""
    shutil.rmtree(root / layout.PREVIOUS_TEACHER, ignore_errors=True)
    shutil.copytree(root / layout.TEACHER, root / layout.PREVIOUS_TEACHER)


def take_in(root: Path, staged: Path) -> None:
    """Add a domain that `pipeline.data.ingest` staged."""
    name = staged.name
    for folder in (layout.images_dir(name), layout.masks_dir(name)):
        if (staged / folder.name).exists():
            shutil.copytree(staged / folder.name, root / folder)
    manifest = root / layout.MANIFEST
    before = read_manifest(manifest) if manifest.exists() else []
    write_manifest(manifest, [*before, *read_manifest(staged / "samples.csv")])


def replay(
    root: Path, params: Params, *, staged: Sequence[Path], truth: Path, num_rounds: int
) -> list[dict[str, Any]]:
    """All rounds of all domains, as the loop would turn them; one evaluation per round.

    Each domain gets `num_rounds` answered queries and a last training on all of its answers.
    """
    found = []
    for index, arrival in enumerate(staged, start=1):
        take_in(root, arrival)
        known = {path.name: params.domains[path.name] for path in staged[:index]}
        current = params.model_copy(update={"domain": arrival.name, "domains": known})
        for round_index in range(num_rounds + 1):
            found.append({"round": round_index, **replay_round(root, current)})
            if params.adapt.warm_start:
                hand_over_teacher(root)
            if round_index < num_rounds:
                answer_query(root, truth)
    return found


def _true_mask(truth: Path, sample_id: str) -> Path:
    return truth / f"{sample_id.split('/', 1)[1]}.png"
