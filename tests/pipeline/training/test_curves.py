"""Curves."""

from __future__ import annotations

import pytest
import torch

from pipeline.errors import ModelError
from pipeline.training.curves import History, thin


def test_it_goes_on_where_an_earlier_part_ended() -> None:
    history = History({"loss": [3.0, 2.0]})
    history.append({"loss": torch.tensor(1.5)})
    history.append({"loss": torch.tensor(1.0)})
    assert history.columns() == {"loss": [3.0, 2.0, 1.5, 1.0]}
    assert history.note() == "loss 1.000"


def test_a_loss_that_is_no_number_stops_the_training() -> None:
    history = History()
    history.append({"loss": torch.tensor(float("nan"))})
    with pytest.raises(ModelError, match=r"loss is nan at step 1; lower train.learning_rate"):
        history.columns()


def test_thinning_averages_stretches() -> None:
    assert thin([1.0, 2.0, 3.0, 4.0, 5.0], points=3) == [1.5, 3.5, 5.0]
    assert thin([1.0, 2.0], points=3) == [1.0, 2.0]
    assert len(thin([0.0] * 30_000)) <= 60
