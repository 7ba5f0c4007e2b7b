"""What a head is unsure about, computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.acquisition.gradient_columns import GRADIENT_SIZE
from pipeline.models.probe import HIDDEN, Head
from pipeline.probe.head import HeadWithPast
from pipeline.probe.uncertainty import score
from pipeline.probe.windows import windows_of


def layers() -> tuple[torch.nn.Sequential, torch.nn.Linear]:
    return torch.nn.Sequential(torch.nn.Linear(2, 2)), torch.nn.Linear(2, 2)


class Fixed(HeadWithPast):
    """Features are probabilities."""

    def __init__(self, *earlier: Head) -> None:
        super().__init__(*layers())
        self.earlier = list(earlier)

    def forward(self, cells: torch.Tensor) -> torch.Tensor:
        return cells.log()


NINE = -(0.9 * np.log2(0.9) + 0.1 * np.log2(0.1))  # bits of doubt between .9 and .1
PROBS = np.array([[[0.5, 0.5], [1.0, 1e-7], [0.9, 0.1], [0.9, 0.1]]]).astype(np.float16)


def test_uncertainty_of_whole_images_by_hand() -> None:
    found = score(Fixed(), PROBS, windows_of((8, 8), None), top_share=0.25)
    assert found.scores["entropy"][0] == pytest.approx([1.0], abs=1e-3)
    expected = [(0.5 + 2 * 0.9 * NINE) / 4, (0.5 + 2 * 0.1 * NINE) / 4]
    assert found.class_entropy_NWK[0, 0] == pytest.approx(expected, abs=2e-3)
    assert found.class_shares_NWK[0, 0] == pytest.approx([3.3 / 4, 0.7 / 4], abs=2e-3)


def test_uncertainty_of_regions_by_hand() -> None:
    # 2 x 2 cells; a region of 4 x 8 pixels would be a row, of 4 x 4 a cell.
    found = score(Fixed(), PROBS, windows_of((8, 8), 4), top_share=0.25)
    assert found.scores["entropy"][0] == pytest.approx([1.0, 0.0, NINE, NINE], abs=2e-3)
    assert found.class_shares_NWK[0, :, 0] == pytest.approx([0.5, 1.0, 0.9, 0.9], abs=1e-3)


class Turned(Head):
    """Says the opposite."""

    def __init__(self) -> None:
        super().__init__(*layers())

    def forward(self, cells: torch.Tensor) -> torch.Tensor:
        return cells.flip(-1).log()


def test_members_disagree_where_the_head_changed_its_mind() -> None:
    cells = windows_of((8, 8), 4)
    head = Fixed(Turned(), Turned())
    found = score(head, PROBS, cells, 0.25, ("bald", "disagreement", "instability")).scores
    third = -(1 / 3 * np.log2(1 / 3) + 2 / 3 * np.log2(2 / 3))
    assert found["bald"][0, :2] == pytest.approx([0.0, third], abs=2e-3)
    assert found["disagreement"][0, :2] == pytest.approx([0.0, 1.0], abs=2e-3)
    assert found["instability"][0, 1:].tolist() == [1, 1, 1]
    same = score(Fixed(Fixed(), Fixed()), PROBS, cells, 0.25, ("bald", "instability")).scores
    assert same["bald"].max() < 1e-6
    assert same["instability"].max() == 0


def test_margin_is_what_the_second_class_lacks() -> None:
    found = score(Fixed(), PROBS, windows_of((8, 8), 4), top_share=0.25)
    assert found.scores["margin"][0] == pytest.approx([1.0, 0.0, 0.2, 0.2], abs=1e-3)
    assert set(found.scores) == {"entropy", "margin"}
    assert found.gradients_NWG is None


def test_gradients_are_those_of_autograd() -> None:
    torch.manual_seed(0)
    head = HeadWithPast.of_size(3, 4)
    cells = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float16)
    found = score(head, cells, windows_of((8, 8), None), 0.5, ("gradients",)).gradients_NWG
    assert found is not None
    logits = head(torch.from_numpy(cells[1].astype(np.float32)))
    loss = torch.nn.functional.cross_entropy(logits, logits.max(-1).indices)
    (gradient,) = torch.autograd.grad(loss, head.classes.weight)
    rng = np.random.default_rng(0)
    project = rng.normal(scale=GRADIENT_SIZE**-0.5, size=(4 * HIDDEN, GRADIENT_SIZE))
    np.testing.assert_allclose(found[1, 0], gradient.flatten().numpy() @ project, atol=1e-5)
