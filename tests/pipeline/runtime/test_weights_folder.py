"""The weights folder as status and doctor see it: without torch, and whatever lies in it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from pipeline.errors import ConfigError, DataError
from pipeline.runtime.weights_folder import (
    VARIABLE,
    record_path,
    stored_path,
    stored_weights,
    weights_folder,
    weights_warning,
)
from tests.support.stored_weights import put_weights

ONE, TWO = "1" * 64, "2" * 64
NAME = "tu-some.tag"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "weights"))
    return tmp_path / "weights"


def test_it_is_in_the_users_cache_unless_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", "/a/cache")
    assert weights_folder() == Path("/a/cache/ssl-loop/weights")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert weights_folder() == Path.home() / ".cache/ssl-loop/weights"
    monkeypatch.setenv(VARIABLE, "weights")
    with pytest.raises(ConfigError, match=r"\$SSL_LOOP_WEIGHTS = 'weights': name an absolute path"):
        weights_folder()


def test_of_one_encoder_the_newest_comes_first() -> None:
    old, new = put_weights(NAME, TWO, "2026-01-01"), put_weights(NAME, ONE, "2026-01-02")
    other = put_weights("tu-another", ONE, "2026-01-03")
    assert stored_weights(NAME) == [new, old]
    assert stored_weights() == [other, new, old]


def test_two_names_of_one_folder_are_two_encoders() -> None:
    put_weights("a:b", ONE, "2026-01-01")
    put_weights("a/b", TWO, "2026-01-01")
    assert [weights.sha256 for weights in stored_weights("a:b")] == [ONE]


def test_no_name_leads_out_of_the_folder(folder: Path) -> None:
    for name in ("..", "../..", "/etc", "a/../../b"):
        path = stored_path(name, ONE).resolve()
        assert path.is_relative_to(folder.resolve())


def test_a_record_without_weights_is_not_there() -> None:
    put_weights(NAME, ONE, "2026-01-01")
    stored_path(NAME, ONE).unlink()
    assert stored_weights() == []


@pytest.mark.parametrize("changes", [{"sha256": TWO}, {"sha256": "x"}, {"source": "ether"}])
def test_a_damaged_record_is_one_line(changes: dict[str, str]) -> None:
    stored = put_weights(NAME, ONE, "2026-01-01")
    record_path(NAME, ONE).write_text(json.dumps(asdict(stored) | changes))
    with pytest.raises(DataError, match=r"1{16}\.json.*; remove it and add the weights again"):
        stored_weights(NAME)


def test_only_an_auto_without_its_weights_is_warned_of() -> None:
    fine = (None, "hub", "a/file.pth")
    assert not any(weights_warning(NAME, given) for given in fine)
    fetch = f"; `ssl-loop weights fetch {NAME}` or `ssl-loop weights add FILE --encoder {NAME}`"
    for given in ("auto", "auto:random"):
        found = weights_warning(NAME, given)
        assert found == f"encoder {NAME} starts from random weights{fetch}"
    lost = weights_warning(NAME, f"auto:{ONE}")
    assert "the weights 111111111111 that encoder tu-some.tag begins from are not on this" in lost
    assert lost.endswith(fetch)
    put_weights(NAME, ONE, "2026-01-01")
    assert not weights_warning(NAME, f"auto:{ONE}")
    assert not weights_warning(NAME, "auto")
    assert "the next round begins from those" in weights_warning(NAME, "auto:random")
