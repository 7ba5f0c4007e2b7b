"""The stage on files: every image of one domain, norm 1, the same bytes again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file

from pipeline import layout
from pipeline.config.params import EmbedParams, Params, parse_params
from pipeline.errors import ConfigError, DataError
from pipeline.files import sha256_file
from pipeline.models import build_encoder
from pipeline.models.weights import add_weights
from pipeline.records.manifest import Sample, write_manifest
from pipeline.runtime.weights_folder import VARIABLE
from pipeline.stages.embed import file_embedder, pooled, run

PATH = layout.EMBEDDINGS / "day.npz"


def params() -> Params:
    return parse_params(
        {
            "classes": ["a", "b"],
            "domain": "day",
            "domains": {"day": {}, "dusk": {}},
            "image": {"height_px": 32, "width_px": 64},
            "train": {"device": "cpu"},
            "embed": {"encoder": "resnet18"},
        }
    )


def write_workspace(root: Path, *, names: tuple[str, ...] = ("c", "a", "b")) -> None:
    """Images of domain day in different sizes and colours, one of dusk; only val has a mask."""
    samples = []
    for place, sample_id in enumerate([*(f"day/{name}" for name in names), "dusk/a"]):
        domain, stem = sample_id.split("/")
        image = f"data/{domain}/images/{stem}.png"
        (root / image).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(place).integers(0, 80 + 60 * place, (40, 50 + place, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(root / image)
        samples.append(
            Sample(
                sample_id=sample_id,
                domain=domain,
                split="val" if stem == "b" else "pool",
                image=image,
                image_sha256=sha256_file(root / image),
                mask="data/day/masks/gone.png" if stem == "b" else "",
            )
        )
    write_manifest(root / layout.MANIFEST, samples)


def read(root: Path) -> tuple[list[str], NDArray[np.float32]]:
    with np.load(root / PATH, allow_pickle=False) as arrays:
        return [str(name) for name in arrays["sample_ids"]], arrays["embeddings_ND"]


def test_every_image_of_the_domain_has_a_row_of_norm_one(tmp_path: Path) -> None:
    write_workspace(tmp_path)
    run(tmp_path, params(), domain="day")
    ids, embeddings = read(tmp_path)
    assert ids == ["day/a", "day/b", "day/c"]
    assert embeddings.dtype == np.float32
    assert embeddings.shape == (3, 64 + 64 + 128 + 256 + 512)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)
    gaps = np.linalg.norm(embeddings[:, None] - embeddings[None], axis=2)
    assert gaps[np.triu_indices(3, 1)].min() > 1e-3  # different images, different vectors


def test_the_widths_of_the_scales_say_whose_features_are_whose(tmp_path: Path) -> None:
    """Each scale counts alike, so its features have norm 1 / sqrt(5)."""
    write_workspace(tmp_path)
    run(tmp_path, params(), domain="day")
    with np.load(tmp_path / PATH, allow_pickle=False) as arrays:
        widths_S, rows_ND = arrays["scale_widths"], arrays["embeddings_ND"]
    assert widths_S.dtype == np.int64
    assert widths_S.tolist() == [64, 64, 128, 256, 512]
    for scale_ND in np.split(rows_ND, np.cumsum(widths_S)[:-1], axis=1):
        np.testing.assert_allclose(np.linalg.norm(scale_ND, axis=1), 5**-0.5, atol=1e-6)


def test_the_same_images_give_the_same_bytes(tmp_path: Path) -> None:
    write_workspace(tmp_path)
    files = []
    for seed in (1, 2):
        torch.manual_seed(seed)  # whatever was drawn before, also with a random encoder
        run(tmp_path, params(), domain="day")
        files.append((tmp_path / PATH).read_bytes())
    assert files[0] == files[1]


def test_the_global_generator_is_left_alone(tmp_path: Path) -> None:
    write_workspace(tmp_path)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run(tmp_path, params(), domain="day")
    assert torch.equal(torch.rand(3), expected)


def test_the_current_domain_is_the_default(tmp_path: Path) -> None:
    write_workspace(tmp_path)
    run(tmp_path, params())
    assert read(tmp_path)[0] == ["day/a", "day/b", "day/c"]


def test_pooled_by_hand() -> None:
    fine = torch.tensor([[[[0.0, 6.0]], [[8.0, 0.0]]]])  # means 3 and 4: norm 5
    row = pooled([fine, torch.full((1, 1, 1, 1), 7.0)])[0]
    expected = torch.tensor([3 / 5, 4 / 5, 1.0]) / 2**0.5
    torch.testing.assert_close(row, expected)


def test_an_image_that_changed_is_refused_and_nothing_written(tmp_path: Path) -> None:
    write_workspace(tmp_path)
    (tmp_path / "data/day/images/a.png").write_bytes(b"other")
    with pytest.raises(DataError, match=r"data/day/images/a.png: differs"):
        run(tmp_path, params(), domain="day")
    assert not (tmp_path / PATH).exists()


def test_an_unknown_or_empty_domain_is_refused(tmp_path: Path) -> None:
    write_workspace(tmp_path, names=())
    with pytest.raises(ConfigError, match=r"domain 'night': expected one of domains: \['day'"):
        run(tmp_path, params(), domain="night")
    with pytest.raises(DataError, match="no sample of domain 'day'"):
        run(tmp_path, params(), domain="day")


def test_a_file_by_itself_has_the_embedding_of_the_stage(tmp_path: Path) -> None:
    write_workspace(tmp_path)
    run(tmp_path, params())
    with np.load(tmp_path / PATH) as arrays:
        by_stage = dict(zip(arrays["sample_ids"], arrays["embeddings_ND"], strict=True))
    embed = file_embedder(params())
    for stem in ("a", "b", "c"):
        alone = embed(tmp_path / f"data/day/images/{stem}.png")
        np.testing.assert_allclose(alone, by_stage[f"day/{stem}"], atol=1e-5)
    (tmp_path / "bad.png").write_text("no picture")
    with pytest.raises(DataError, match=r"bad\.png"):
        embed(tmp_path / "bad.png")


def test_under_auto_the_features_say_what_they_were_made_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "weights"))
    write_workspace(tmp_path)
    torch.manual_seed(3)
    name = "tu-test_efficientnet"
    save_file(build_encoder(EmbedParams(encoder=name)).state_dict(), tmp_path / "w.safetensors")
    made = {}
    for given in (None, "auto:random", "auto"):
        if given == "auto":
            kept = add_weights(tmp_path / "w.safetensors", name)
        knobs = {"encoder": name, "encoder_weights": given, "normalisation": "auto"}
        run(tmp_path, params().with_knobs(embed=knobs))
        made[given] = dict(np.load(tmp_path / PATH))
    assert "encoder_weights" not in made[None]
    assert made["auto:random"]["encoder_weights"] == "auto:random"
    assert made["auto"]["encoder_weights"] == f"auto:{kept.sha256}"
    plain, random, begun = (made[g]["embeddings_ND"] for g in (None, "auto:random", "auto"))
    assert np.array_equal(plain, random)
    assert not np.allclose(plain, begun)
