"""FDA against its equation in numpy, and what must not change."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.fidelity.plain_networks import with_style
from pipeline.training.domain_adaptation.fourier import low_frequencies, with_style_of


def images(seed: int, size: tuple[int, int] = (16, 24)) -> Tensor:
    return torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("beta", [0.01, 0.09, 0.3])
@pytest.mark.parametrize("size", [(16, 24), (15, 21)])
def test_it_is_the_papers_equation_on_the_codes_square(beta: float, size: tuple[int, int]) -> None:
    source, style = images(1, size), images(2, size)
    found = with_style_of(source, style, beta)
    for b in range(2):
        for c in range(3):
            expected = with_style(source[b, c].numpy(), style[b, c].numpy(), beta)
            np.testing.assert_allclose(found[b, c].numpy(), expected, atol=1e-5)


def test_its_own_style_changes_nothing() -> None:
    torch.testing.assert_close(with_style_of(images(1), images(1), 0.1), images(1))


def test_it_takes_the_brightness_and_keeps_the_edges() -> None:
    source = images(1) * 0.2 + 0.6
    dark = with_style_of(source, source - 0.4, 0.05)
    torch.testing.assert_close(dark.mean(dim=(2, 3)), source.mean(dim=(2, 3)) - 0.4)
    assert torch.corrcoef(torch.stack([dark.flatten(), (source - 0.4).flatten()]))[0, 1] > 0.99


def test_beta_is_a_share_of_the_shorter_side_and_frequency_0_is_in_it() -> None:
    for size in ((20, 40), (40, 20)):
        low_HW = low_frequencies(*size, 0.1)
        assert low_HW[0, 0]
        assert int(low_HW.sum()) == 5 * 5  # -2..2 by -2..2
