"""The examples of docs/extending.md pass the contracts of their tables."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.config.params import ModelParams
from pipeline.methods import METHODS, SemiSupervised
from pipeline.models import MODELS
from pipeline.models.build import ModelEntry
from tests.contracts import test_methods, test_models

PAGE = Path(__file__).parents[1] / "docs/extending.md"


def example(number: int) -> dict[str, Any]:
    """What the page's code block number `number` defines."""
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[number]
    defined: dict[str, Any] = {"__name__": "example"}
    exec(compile(code, str(PAGE), "exec"), defined)
    return defined


@pytest.fixture
def method(monkeypatch: pytest.MonkeyPatch) -> str:
    """A row of METHODS for as long as the test lasts."""
    sharpened = example(0)["Sharpened"]
    assert issubclass(sharpened, SemiSupervised)
    monkeypatch.setitem(METHODS, "sharpened", sharpened)
    return "sharpened"


@pytest.mark.parametrize(
    "contract",
    [
        test_methods.test_losses_are_finite_scalars_and_supervised_is_one,
        test_methods.test_an_all_ignored_batch_teaches_nothing,
        test_methods.test_without_unlabelled_images_it_is_supervised,
        test_methods.test_with_weight_0_it_is_supervised,
        test_methods.test_unlabelled_images_change_what_is_learnt,
        test_methods.test_the_same_seed_gives_the_same_weights,
        test_methods.test_its_state_is_whole,
    ],
    ids=lambda contract: contract.__name__,
)
def test_the_method_of_the_page_keeps_the_contract(method: str, contract) -> None:
    contract(method)


def test_the_model_of_the_page_keeps_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "plain", ModelEntry(example(1)["plain"], None))
    torch.manual_seed(0)
    model = test_models.build_model(ModelParams(name="plain"), test_models.NUM_CLASSES)
    test_models.test_logits_have_the_images_size(model, 3)
    test_models.test_an_image_is_seen_alone_in_eval_mode(model)
    test_models.test_every_parameter_learns(ModelParams(name="plain"))
