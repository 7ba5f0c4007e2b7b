"""What every row of MODELS must do."""

from __future__ import annotations

import copy

import pytest
import torch

from pipeline.config.params import ImageParams, ModelParams
from pipeline.errors import ModelError
from pipeline.methods.shared.losses import labelled_loss
from pipeline.models import MODELS, build_model, load_model, save_model
from pipeline.models.segmenter import Segmenter
from tests.support.model_variants import LARGE, SMALL, VARIANTS

NUM_CLASSES = 5
SIZE = (64, 96)


def build(params: ModelParams, seed: int = 0) -> Segmenter:
    torch.manual_seed(seed)
    return build_model(params, NUM_CLASSES)


@pytest.fixture(params=VARIANTS, scope="module")
def params(request: pytest.FixtureRequest) -> ModelParams:
    return request.param


@pytest.fixture(scope="module")
def model(params: ModelParams) -> Segmenter:
    return build(params)


def test_every_row_is_tried() -> None:
    assert {params.name for params in [*SMALL.values(), *LARGE.values()]} == set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_every_row_names_an_encoder_that_fits(name: str) -> None:
    with torch.device("meta"):
        encoder = MODELS[name].encoder or "tu-whatever"
        build_model(ModelParams(name=name, encoder=encoder), NUM_CLASSES)


@pytest.mark.parametrize("batch", [1, 3])
def test_logits_have_the_images_size(model: Segmenter, batch: int) -> None:
    logits_BKHW = model.eval()(torch.rand(batch, 3, *SIZE))
    assert logits_BKHW.shape == (batch, NUM_CLASSES, *SIZE)
    assert logits_BKHW.isfinite().all()


def test_sizes_that_do_not_fit_are_refused_with_the_ones_that_do(model: Segmenter) -> None:
    with pytest.raises(ModelError, match=r"50x96.*divisible by 32.*64x96"):
        model(torch.rand(2, 3, 50, 96))


def test_every_parameter_learns(params: ModelParams) -> None:
    model = build(params).train()
    images_BCHW = torch.rand(3, 3, *SIZE)
    labelled_loss(model, images_BCHW, torch.zeros(3, *SIZE, dtype=torch.long)).backward()
    idle = [key for key, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not idle


def test_an_image_is_seen_alone_in_eval_mode(model: Segmenter) -> None:
    exact = copy.deepcopy(model).double().eval()  # sums are ordered by the batch's size
    images_BCHW = torch.rand(3, 3, *SIZE, dtype=torch.float64)
    torch.testing.assert_close(exact(images_BCHW)[1:2], exact(images_BCHW[1:2]))


def test_features_are_the_image_and_maps(model: Segmenter) -> None:
    """What methods that perturb features rely on."""
    images_BCHW = torch.rand(2, 3, *SIZE)
    first, *maps = model.eval().encode(images_BCHW)
    assert torch.equal(first, images_BCHW)
    assert maps
    assert all(found.ndim == 4 and len(found) == 2 for found in maps)
    parts = model.classify(model.represent([first, *maps]), first)
    assert torch.equal(parts, model(images_BCHW))
    other = model.decode([first, *(torch.zeros_like(found) for found in maps)])
    assert not torch.equal(other, parts), "the decoder looks at the maps"


def test_the_seed_decides_the_weights(params: ModelParams) -> None:
    first, same, other = (build(params, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_saved_and_loaded_it_says_the_same(params: ModelParams, tmp_path) -> None:
    model = build(params).eval()
    config = {
        "model": params.model_dump(),
        "classes": [str(index) for index in range(NUM_CLASSES)],
        "image": {"height_px": SIZE[0], "width_px": SIZE[1]},
    }
    save_model(tmp_path / "a", model, config)
    save_model(tmp_path / "b", model, config)
    loaded = load_model(tmp_path / "a")
    assert loaded.network is not None
    images_BCHW = torch.rand(2, 3, *SIZE)
    assert torch.equal(loaded.network(images_BCHW), model(images_BCHW))
    assert loaded.image == ImageParams(height_px=SIZE[0], width_px=SIZE[1])
    for file in ("model.safetensors", "config.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(ModelError, match=r"'alexnet'.*unet.*pspnet"):
        build_model(ModelParams(name="alexnet"), NUM_CLASSES)
