"""A weights folder of the test's own, and a hub that cannot be reached."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
import pytest

from pipeline.models import weights
from pipeline.runtime.weights_folder import VARIABLE


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A weights folder of the test's own; what was found out of the hub is forgotten."""
    own = tmp_path / "machine" / "weights"
    monkeypatch.setenv(VARIABLE, str(own))
    weights._fetched.cache_clear()
    return own


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    asked: list[str] = []

    def refuse(url: str, **_: object) -> None:
        asked.append(url)
        raise ConnectionError("no network\nhere")

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", refuse)
    return asked
