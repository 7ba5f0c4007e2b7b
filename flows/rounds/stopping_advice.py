"""What a computed round says about stopping, from its predictions and from the rounds before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from PIL import Image

from flows.ledger.records import advice_at
from flows.loop import Loop
from flows.rounds.round_facts import round_facts
from flows.workspace.position import Position, round_tag
from pipeline import layout
from pipeline.array_files import array_of, read_arrays
from pipeline.campaign.annotation_time import MIN_ANSWERS, timed
from pipeline.campaign.stopping import (
    AHEAD,
    Advice,
    Classes,
    advise,
    agreement,
    stop_set,
    thinned,
)
from pipeline.files import replacing, write_json
from pipeline.records.answers import read_answers
from pipeline.records.manifest import Sample
from pipeline.records.query import read_query
from pipeline.records.regions import Grid


def write_advice(loop: Loop, here: Position) -> Advice:
    """metrics/stop_set.npz and metrics/stopping.json of the round in the working copy."""
    now = _predictions(loop, here)
    with replacing(loop.root / layout.STOP_SET) as beside, beside.open("wb") as file:
        np.savez_compressed(file, **now)  # type: ignore[arg-type]
    params, samples = loop.read_params(), loop.workspace.manifest()
    grid = params.grid
    found = advise(
        learning_curve(loop, here, samples),
        _num_left([s for s in samples if s.domain == here.domain], grid),
        _minutes(loop),
        _agreements(loop, here, now),
        params.loop,
        unit=params.acquire.query_unit,
        ahead=params.query_size(here.domain) if grid else AHEAD,
    )
    write_json(loop.root / layout.STOPPING, found.to_dict())
    return found


def learning_curve(
    loop: Loop, here: Position, samples: Sequence[Sample]
) -> list[tuple[int, float]]:
    """(labels, mIoU) of the domain's rounds, counted in what people are asked for.

    `samples` are those of the round in the working copy.
    """
    found: list[tuple[int, float]] = []
    grid = loop.read_params().grid
    for row in round_facts(loop):
        if row.domain != here.domain or row.miou_teacher is None:
            continue
        labels = row.labelled
        if grid:  # how many images they lie in says little
            then = samples if row.tag == here.tag else _samples_at(loop, row.tag)
            labels = _num_labels(then, grid)
        # A round without new labels (closed unanswered, or opened again) measures nothing new.
        if (labels, row.miou_teacher) not in found[-1:]:
            found.append((labels, row.miou_teacher))
    return found


def _samples_at(loop: Loop, tag: str) -> list[Sample]:
    return loop.workspace.manifest_at(tag)


def _taught_by(samples: Iterable[Sample]) -> dict[str, str]:
    """`sample_id -> hash of its mask` of what a training learns from."""
    return {sample.sample_id: sample.mask_sha256 for sample in samples if sample.labelled}


def _num_labels(samples: Iterable[Sample], grid: Grid) -> int:
    """Labelled regions of all domains; of an image that is labelled as a whole all."""
    return sum(len(sample.boxes) or grid.count for sample in samples if sample.labelled)


def _num_left(samples: Iterable[Sample], grid: Grid | None) -> int:
    """Images, or regions of them, that nobody was asked for."""
    if grid is None:
        return sum(sample.unlabelled and not sample.corrected for sample in samples)
    return sum(max(0, grid.count - len(s.boxes)) for s in samples if s.unlabelled)


def _minutes(loop: Loop) -> float | None:
    """What a label of the query takes on average; None while nobody's pace is known."""
    query = read_query(loop.root / layout.QUERY)
    expected = [row.minutes for row in query if row.minutes is not None]
    measured = timed(read_answers(loop.root / layout.ANSWERS))
    if not expected or len(measured) < MIN_ANSWERS:
        return None
    return sum(expected) / len(expected)


def _predictions(loop: Loop, here: Position) -> dict[str, Classes]:
    """Of the stop set, as far as it is unlabelled still; none without a teacher."""
    samples = {s.sample_id: s for s in loop.workspace.manifest() if s.domain == here.domain}
    # Whatever people were to label, whether they did by now or not: so the set stays the same.
    open_at_first = [name for name, s in samples.items() if s.origin == "annotated" or s.unlabelled]
    found = {}
    for name in stop_set(open_at_first, loop.read_params().loop.stop_set_size):
        path = loop.root / layout.sample_png(layout.PSEUDO_LABELS, name)
        if samples[name].unlabelled and path.exists():
            with Image.open(path) as png:
                found[name] = thinned(np.asarray(png, dtype=np.uint8))
    return found


def _agreements(loop: Loop, here: Position, now: Mapping[str, Classes]) -> list[float]:
    """The domain's so far and this round's, if both rounds had a teacher and other labels."""
    before = round_tag(here.domain, here.round_index - 1)
    if here.round_index == 0 or not loop.workspace.exists_at(before, layout.STOP_SET):
        return []
    then = advice_at(loop.workspace, before)
    earlier = then.agreements if then else ()
    if _taught_by(loop.workspace.manifest()) == _taught_by(_samples_at(loop, before)):
        return [*earlier]
    file = loop.workspace.file_at(before, layout.STOP_SET)
    arrays = read_arrays(file.raw, source=file.source)
    latest = agreement({name: array_of(arrays, name, "u", 1, file.source) for name in arrays}, now)
    return [*earlier] if latest is None else [*earlier, round(latest, 6)]
