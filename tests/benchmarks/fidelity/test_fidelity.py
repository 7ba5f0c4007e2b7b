"""Every formula is what its second writing says, and a row that is off is seen."""

from __future__ import annotations

import pytest
import torch

from benchmarks.fidelity.__main__ import COMPARISONS
from benchmarks.fidelity.comparisons import Comparison, largest, rows


@pytest.mark.parametrize("row", COMPARISONS, ids=lambda row: f"{row.name}: {row.compared}")
def test_the_product_computes_what_the_plain_writing_does(row: Comparison) -> None:
    assert row.difference() <= row.tolerance


def test_a_row_that_is_off_says_so() -> None:
    good, bad = rows([Comparison("a", "b", lambda: 0.0), Comparison("a", "b", lambda: 0.1)])
    assert (good["held"], good["largest difference"]) == ("yes", "0")
    assert (bad["held"], bad["largest difference"]) == ("NO", "1.0e-01")


def test_the_largest_difference_is_over_all_numbers() -> None:
    assert largest(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), [1.0, 2.5, 3.0, 4.25]) == 0.5
    with pytest.raises(ValueError, match="shorter"):
        largest(torch.tensor([1.0, 2.0]), [1.0])
