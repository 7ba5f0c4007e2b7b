"""Stage `acquire`: scores and embeddings in, `query.csv` out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline import cost, layout
from pipeline.acquisition import query, strategy
from pipeline.acquisition.pool import ByClass, Floats, Pool
from pipeline.acquisition.strategies import SCORES
from pipeline.answers import read_answers
from pipeline.config import Params
from pipeline.data.formats.images import load_mask
from pipeline.data.manifest import Sample, read_manifest
from pipeline.errors import ConfigError, DataError
from pipeline.query import write_query
from pipeline.types import IGNORE


def run(root: Path, params: Params) -> None:
    """Write the query of the current domain; only the header when nothing may or can be asked."""
    if params.domain is None:
        raise ConfigError("domain: null; `ssl-loop domain add` brings the first images")
    strategy(params.acquire.strategy)  # refused before anything is read
    samples = read_manifest(root / layout.MANIFEST)
    candidates = candidates_of(samples, params.domain)
    size = query_size(samples, params, params.domain)
    if size == 0:
        write_query(root / layout.QUERY, [], num_candidates=len(candidates))
        return
    # The count moves on with every merge, so each round draws anew and a repeated one alike.
    rng = np.random.default_rng([params.acquire.seed, _num_annotated(samples)])
    pool = _pool(root, params, samples, candidates)
    picks = query(params.acquire.strategy, pool, size, params.acquire, rng)
    write_query(
        root / layout.QUERY,
        picks,
        num_candidates=len(candidates),
        minutes=_minutes(root, candidates, params.num_classes),
    )


def candidates_of(samples: list[Sample], domain: str) -> list[Sample]:
    """What may be asked for in `domain`: unlabelled, and never refused by a person."""
    return [
        item for item in samples if item.domain == domain and item.unlabelled and not item.skips
    ]


def query_size(samples: list[Sample], params: Params, domain: str) -> int:
    """How many to ask for: what the domain's query size, budget and candidates all allow."""
    spent = sum(sample.num_answers for sample in samples if sample.domain == domain)
    left = max(0, params.budget(domain) - spent)
    return min(params.query_size(domain), left, len(candidates_of(samples, domain)))


def _pool(root: Path, params: Params, samples: list[Sample], candidates: list[Sample]) -> Pool:
    embeddings_ND = _read_embeddings(root, candidates)
    # No row of the candidates': the width, where nothing is labelled.
    covered = [embeddings_ND[:0], *_labelled_embeddings(root, samples)]
    domain = candidates[0].domain
    spent = sum(sample.num_answers for sample in samples if sample.domain == domain)
    pool = Pool(
        sample_ids=tuple(sample.sample_id for sample in candidates),
        embeddings_ND=embeddings_ND,
        labelled_embeddings_MD=np.concatenate(covered),
        spent_share=min(1.0, spent / max(1, params.budget(domain))),
    )
    table = _read_scores(root / layout.SCORES, candidates, params.num_classes)
    if table is None:
        return pool
    return replace(
        pool,
        scores={name: table[name].to_numpy(np.float64) for name in SCORES if name in table},
        by_class=_by_class(root, table, samples, params.classes),
    )


def _minutes(root: Path, candidates: list[Sample], num_classes: int) -> dict[str, float]:
    """What each candidate is expected to take, at the pace of the answers so far."""
    table = _read_scores(root / layout.SCORES, candidates, num_classes)
    shapes: list[cost.Shape | None] = [None] * len(candidates)
    if table is not None:
        shapes = [cost.Shape(*row) for row in zip(table["boundary"], table["regions"], strict=True)]
    pace = cost.fit(cost.timed(read_answers(root / layout.ANSWERS)))
    minutes_N = cost.expected_minutes(pace, shapes)
    return {sample.sample_id: m for sample, m in zip(candidates, minutes_N.tolist(), strict=True)}


def _num_annotated(samples: list[Sample]) -> int:
    return sum(sample.origin == "annotated" for sample in samples)


def _read_scores(path: Path, candidates: list[Sample], num_classes: int) -> pd.DataFrame | None:
    """One row per candidate, in their order; None when the file is empty: no trained model."""
    if not path.exists():
        raise DataError(f"{path}: no such file; the stage predict writes it: `dvc repro predict`")
    table = pd.read_parquet(path).set_index("sample_id")
    if table.empty:
        return None
    needed = [*_class_columns(num_classes), "boundary", "regions"]
    absent = [name for name in needed if name not in table.columns]
    if absent:
        raise DataError(
            f"{path}: lacks the column(s) {', '.join(absent[:4])}; repeat the stage: "
            "`dvc repro --force predict`"
        )
    wanted = [sample.sample_id for sample in candidates]
    _refuse_absent([name for name in wanted if name not in table.index], path, "predict")
    return table.loc[wanted]


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
            counts_K += np.bincount(mask_HW[mask_HW != IGNORE], minlength=num_classes)
    return ByClass(
        entropy_NK=values[:, :num_classes],
        shares_NK=values[:, num_classes:],
        labelled_shares_K=counts_K / max(1, counts_K.sum()),
        names=classes,
    )


def _read_embeddings(root: Path, samples: list[Sample]) -> Floats:
    """One row per sample, in order; all of one domain."""
    path = root / layout.EMBEDDINGS / f"{samples[0].domain}.npz"
    if not path.exists():
        raise DataError(f"{path}: no such file; the stage embed writes it: `dvc repro embed`")
    with np.load(path, allow_pickle=False) as arrays:
        rows = {str(name): row for row, name in enumerate(arrays["sample_ids"])}
        vectors = arrays["embeddings_ND"].astype(np.float64)
    wanted = [sample.sample_id for sample in samples]
    _refuse_absent([name for name in wanted if name not in rows], path, "embed")
    return vectors[[rows[name] for name in wanted]]


def _labelled_embeddings(root: Path, samples: list[Sample]) -> list[Floats]:
    """One array per domain with labels: what an older domain taught need not be asked again."""
    labelled = [sample for sample in samples if sample.labelled]
    domains = sorted({sample.domain for sample in labelled})
    return [
        _read_embeddings(root, [sample for sample in labelled if sample.domain == domain])
        for domain in domains
    ]


def _refuse_absent(absent: list[str], path: Path, stage: str) -> None:
    if absent:
        raise DataError(
            f"{path}: lacks {len(absent)} sample(s) of the manifest: {', '.join(absent[:5])}; "
            f"repeat the stage: `dvc repro --force {stage}`"
        )
