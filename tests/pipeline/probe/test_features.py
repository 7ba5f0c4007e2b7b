"""What makes cached features stale."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.config.params import EmbedParams, ImageParams
from pipeline.data.labelled_folder import Example, LabelledSet
from pipeline.probe.features import key_of, named


@pytest.mark.parametrize("changed", ["image.png", "mask.png", "weights.safetensors"])
def test_a_changed_file_is_anotherkey_of(tmp_path: Path, changed: str) -> None:
    for name in ("image.png", "mask.png", "weights.safetensors"):
        (tmp_path / name).write_text("first")
    example = Example(
        name="a", domain="day", image=tmp_path / "image.png", mask=tmp_path / "mask.png"
    )
    data = LabelledSet(classes=("road",), pool=(example,), scored=(example,))
    embed = EmbedParams(encoder_weights=str(tmp_path / "weights.safetensors"))
    before = key_of(data, embed, ImageParams())
    assert key_of(data, embed, ImageParams()) == before
    (tmp_path / changed).write_text("other")
    os.utime(tmp_path / changed, ns=(1, 1))
    assert key_of(data, embed, ImageParams()) != before


def test_the_encoder_in_words_says_which_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = "tu-test_efficientnet"
    sha256 = "1" * 64
    for given, words in (
        (None, "random weights"),
        ("auto:random", "random weights"),
        (f"auto:{sha256}", "111111111111"),
        ("/a/file.pth", "file.pth"),
    ):
        embed = EmbedParams(encoder=encoder, encoder_weights=given)
        assert named(embed) == f"{encoder}, {words}"
    monkeypatch.setattr("pipeline.models.weights.chosen_weights", lambda name: f"auto:{sha256}")
    assert named(EmbedParams(encoder=encoder, encoder_weights="auto")).endswith("111111111111")
