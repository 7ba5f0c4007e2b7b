"""Every model trains in the real loop, semi-supervised."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pipeline import layout
from pipeline.config.params import ModelParams
from pipeline.models import load_model
from pipeline.stages import train_teacher
from tests.support.model_variants import VARIANTS

pytestmark = pytest.mark.heavy

NUM_STEPS = 20


@pytest.mark.parametrize("model", VARIANTS)
def test_it_trains_with_fixmatch(model: ModelParams, make_workspace, tiny_params) -> None:
    root = make_workspace(3, 4)
    train = {"steps": NUM_STEPS, "encoder_learning_rate": 3e-4}
    params = tiny_params(model=model.model_dump(), train=train)
    train_teacher.run(root, params)
    assert load_model(root / layout.TEACHER).trained
    curves = json.loads((root / layout.TEACHER_TRAINING).read_text())
    loss = np.array(curves["loss"])
    assert len(loss) == NUM_STEPS
    assert np.isfinite(loss).all()
    supervised = np.array(curves["supervised"])
    assert supervised[-5:].mean() < 0.9 * supervised[:5].mean()
