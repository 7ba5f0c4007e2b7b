"""Half of a query where the model is likely sure and wrong, the rest where it is unsure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.acquisition import query
from pipeline.acquisition.confident_errors import SCORE, confident_errors
from pipeline.acquisition.herding import herding
from pipeline.acquisition.pool import Pool
from pipeline.config.params import AcquireParams

PARAMS = AcquireParams(audit_share=0.0)


def pool(scores: dict[str, list[float]]) -> Pool:
    return Pool(
        sample_ids=tuple("abcdef"),
        embeddings_ND=np.eye(6),
        labelled_embeddings_MD=np.ones((1, 6)),
        scores={name: np.array(values) for name, values in scores.items()},
    )


def test_half_goes_to_confident_errors_and_none_is_asked_twice() -> None:
    both = pool({SCORE: [0.9, 0.1, 0.8, 0.0, 0.0, 0.0], "entropy": [0.9, 0.2, 0.3, 0.8, 0.1, 0.0]})
    picks = query("confident_errors", both, 4, PARAMS, np.random.default_rng(0))
    assert {pick.sample_id for pick in picks} == {"a", "c", "d", "b"}
    reasons = {pick.sample_id: pick.reason for pick in picks}
    assert "sure and wrong" in reasons["a"]
    assert "sure and wrong" in reasons["c"]
    assert "entropy" in reasons["d"]
    only = query("confident_errors", both, 1, PARAMS, np.random.default_rng(0))
    assert [pick.sample_id for pick in only] == ["a"]


def test_before_corrections_it_asks_as_for_whole_images() -> None:
    unsure = pool({"entropy": [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]})
    rng = np.random.default_rng(0)
    expected = herding(unsure, 3, PARAMS, np.random.default_rng(0))
    assert confident_errors(unsure, 3, PARAMS, rng) == expected
    untaught = replace(unsure, scores={}, labelled_embeddings_MD=np.empty((0, 6)))
    assert len(query("confident_errors", untaught, 3, PARAMS, rng)) == 3  # a cold start
