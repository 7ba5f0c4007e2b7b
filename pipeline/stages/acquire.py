"""Stage `acquire`: scores and embeddings in, `query.csv` out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline import layout
from pipeline.acquisition import query, resolved, strategy
from pipeline.acquisition.gradient_columns import gradient_columns
from pipeline.acquisition.pool import ByClass, Floats, Pool
from pipeline.acquisition.strategies import SCORES
from pipeline.array_files import array_of, read_arrays
from pipeline.campaign import annotation_time
from pipeline.campaign.spending import Spending, spending
from pipeline.config.params import Params
from pipeline.data.formats.images import load_mask, value_counts
from pipeline.errors import ConfigError, DataError
from pipeline.records.answers import read_answers
from pipeline.records.manifest import Sample, read_manifest
from pipeline.records.query import write_query
from pipeline.stages.candidates import images_of, labelled_ids, regions_of

WHOLE = ("sample_ids", "embeddings_ND")


def run(root: Path, params: Params) -> None:
    """Write the query of the current domain; only the header when nothing may or can be asked."""
    if params.domain is None:
        raise ConfigError("domain: null; `ssl-loop domain add` brings the first images")
    name = resolved(params.acquire.strategy, params.acquire.query_unit)
    strategy(name)  # refused before anything is read
    samples = read_manifest(root / layout.MANIFEST)
    regions = regions_of(root, params, samples)
    names = list(regions) if params.grid else images_of(samples, params.domain)
    size = min(len(names), query_size(samples, params, params.domain))
    if size == 0:
        write_query(root / layout.QUERY, [], num_candidates=len(names))
        return
    # The count moves on with every merge, so each round draws anew and a repeated one alike.
    rng = np.random.default_rng([params.acquire.seed, _num_annotated(samples)])
    pool = _pool(root, params, samples, names)
    table = _read_scores(root / layout.SCORES, names, params.num_classes)
    if table is not None:
        pool = _scored(root, params, samples, pool, table)
    minutes = _minutes(root, params, names, table)
    if params.acquire.strategy_unit_of_gain == "per_minute":
        pool = _per_minute(pool, np.array([minutes[name] for name in pool.sample_ids]))
    picks = query(name, pool, size, params.acquire, rng)
    write_query(
        root / layout.QUERY,
        picks,
        num_candidates=len(names),
        minutes=minutes,
        regions=regions,
    )


def query_size(samples: list[Sample], params: Params, domain: str) -> int:
    """How many to ask for: what the domain's query size and budget, if any, allow."""
    size, left = params.query_size(domain), spending(samples, params, domain).left
    return size if left is None else min(size, left)


def _pool(root: Path, params: Params, samples: list[Sample], names: list[str]) -> Pool:
    embeddings_ND = _read_embeddings(root, params, names)
    labelled = labelled_ids(root, params, samples)
    # An empty part of the candidates': the width, where nothing is labelled. What an older domain
    # taught need not be asked again.
    covered = [embeddings_ND[:0], *(_read_embeddings(root, params, ids) for ids in labelled)]
    return Pool(
        sample_ids=tuple(names),
        embeddings_ND=embeddings_ND,
        labelled_embeddings_MD=np.concatenate(covered),
        spent_share=_spent_share(spending(samples, params, str(params.domain))),
    )


def _spent_share(found: Spending) -> float:
    """Of the budget, in [0, 1]; of all that may be asked for where there is none."""
    budget = found.spent + found.candidates if found.budget is None else found.budget
    return min(1.0, found.spent / max(1, budget))


def _scored(
    root: Path, params: Params, samples: list[Sample], pool: Pool, table: pd.DataFrame
) -> Pool:
    """With what the teacher says; the rows of `table` are in the order of the pool's ids."""
    table = table.loc[list(pool.sample_ids)]
    gradients = gradient_columns()
    return replace(
        pool,
        scores={name: table[name].to_numpy(np.float64) for name in SCORES if name in table},
        by_class=_by_class(root, table, samples, params.classes),
        gradients_NG=(table[gradients].to_numpy(np.float64) if gradients[0] in table else None),
    )


def _minutes(
    root: Path, params: Params, names: list[str], table: pd.DataFrame | None
) -> dict[str, float]:
    """What each candidate is expected to take, at the pace of the answers so far.

    Corrections have a pace of their own; the few images that are drawn at random, and painted
    whole, take longer than is said here.
    """
    shapes: list[annotation_time.Shape | None] = [None] * len(names)
    if table is not None:
        shapes = [
            annotation_time.Shape(*row)
            for row in zip(table["boundary"], table["regions"], strict=True)
        ]
    # Before there is a teacher nothing can be corrected.
    correcting = table is not None and params.acquire.query_unit == "correction"
    given = [row for row in read_answers(root / layout.ANSWERS) if row.corrects == correcting]
    prior = annotation_time.CORRECTING if correcting else annotation_time.PRIOR
    pace = annotation_time.fit(annotation_time.timed(given), prior)
    minutes_N = annotation_time.expected_minutes(pace, shapes)
    return dict(zip(names, minutes_N.tolist(), strict=True))


def _per_minute(pool: Pool, minutes_N: Floats) -> Pool:
    """Scores for a minute of people's time; strategies without scores stay as they are."""
    scores = {
        name: annotation_time.per_minute(each_N, minutes_N) for name, each_N in pool.scores.items()
    }
    found = pool.by_class
    if found is not None:
        ratio_N = annotation_time.per_minute(np.ones(len(pool)), minutes_N)
        found = replace(found, entropy_NK=found.entropy_NK * ratio_N[:, None])
    return replace(pool, scores=scores, by_class=found)


def _num_annotated(samples: list[Sample]) -> int:
    return sum(len(sample.boxes) or sample.origin == "annotated" for sample in samples)


def _read_scores(path: Path, names: list[str], num_classes: int) -> pd.DataFrame | None:
    """One row per candidate, in their order; None when the file is empty: no trained model."""
    if not path.exists():
        raise DataError(f"{path}: no such file; the stage predict writes it: `dvc repro predict`")
    try:
        table = pd.read_parquet(path).set_index("sample_id")
    except Exception as error:  # of a damaged file its reader raises whatever it runs into
        words = " ".join(str(error).split())[:100]
        raise DataError(
            f"{path}: not a readable table of scores: {words}; repeat the stage: "
            "`dvc repro --force predict`"
        ) from None
    if table.empty:
        return None
    needed = [*_class_columns(num_classes), "boundary", "regions"]
    absent = [name for name in needed if name not in table.columns]
    if absent:
        raise DataError(
            f"{path}: lacks the column(s) {', '.join(absent[:4])}; repeat the stage: "
            "`dvc repro --force predict`"
        )
    _refuse_absent([name for name in names if name not in table.index], path, "predict")
    return table.loc[names]


def _class_columns(num_classes: int) -> list[str]:
    return [f"{name}_{index}" for name in ("entropy", "class") for index in range(num_classes)]


def _by_class(
    root: Path, scores: pd.DataFrame, samples: list[Sample], classes: tuple[str, ...]
) -> ByClass:
    num_classes = len(classes)
    values = scores[_class_columns(num_classes)].to_numpy(np.float64)
    counts_K = np.zeros(num_classes, dtype=np.int64)
    for sample in samples:
        if sample.labelled:
            mask_HW = load_mask(root / sample.mask, num_classes)
            counts_K += value_counts(mask_HW)[:num_classes]
    return ByClass(
        entropy_NK=values[:, :num_classes],
        shares_NK=values[:, num_classes:],
        labelled_shares_K=counts_K / max(1, counts_K.sum()),
        names=classes,
    )


def _read_embeddings(root: Path, params: Params, names: list[str]) -> Floats:
    """One row per image or region, in order; all of one domain."""
    path = root / layout.EMBEDDINGS / f"{names[0].split('/')[0]}.npz"
    if not path.exists():
        raise DataError(f"{path}: no such file; the stage embed writes it: `dvc repro embed`")
    ids, vectors = ("region_ids", "region_embeddings_ND") if params.grid else WHOLE
    arrays = read_arrays(path, (ids, vectors))
    if ids not in arrays:
        raise DataError(f"{path}: lacks regions; repeat the stage: `dvc repro --force embed`")
    vectors_ND = array_of(arrays, vectors, "f", 2, str(path)).astype(np.float64)
    rows = {str(name): row for row, name in enumerate(arrays[ids][: len(vectors_ND)])}
    _refuse_absent([name for name in names if name not in rows], path, "embed")
    return vectors_ND[[rows[name] for name in names]]


def _refuse_absent(absent: list[str], path: Path, stage: str) -> None:
    if absent:
        raise DataError(
            f"{path}: lacks {len(absent)} sample(s) of the manifest: {', '.join(absent[:5])}; "
            f"repeat the stage: `dvc repro --force {stage}`"
        )
