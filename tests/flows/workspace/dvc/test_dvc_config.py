"""DVC's configuration is read and written as DVC itself does it."""

from __future__ import annotations

from pathlib import Path

import pytest
from dvc.config import Config

from flows.workspace.dvc.dvc_config import (
    CONFIG,
    LOCAL_CONFIG,
    DvcConfig,
    effective,
    in_git,
    lend_storage,
    parse,
)
from pipeline.errors import ConfigError
from pipeline.reading import content_of

TEXTS = {
    "as DVC writes it": "[core]\n    remote = backup\n['remote \"backup\"']\n    url = /a/b\n",
    "by hand": '[remote "Backup"]\nURL=s3://x/y # where\n[Core]\nautostage = true\n',
    "quoted": "['remote \"b\"']\nurl = \"/a, b\"\npassword = 'p#q=r'\n[cache]\ndir = ../c\n",
    "interpolated": "['remote \"b\"']\nuser = me\nurl = ssh://%(user)s@host/x\n",
    "empty": "",
}


def of_dvc(path: Path) -> DvcConfig:
    found = Config.load_file(str(path))
    return DvcConfig(
        remotes=found["remote"],
        default_remote=found.get("core", {}).get("remote"),
        cache=found.get("cache", {}).get("dir"),
    )


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_read_as_dvc_reads_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").write_text(text)
    assert parse(content_of(text, "config")) == of_dvc(tmp_path / "config")


def test_the_local_file_goes_before_and_paths_are_from_dvcs_folder(tmp_path: Path) -> None:
    (tmp_path / ".dvc").mkdir()
    assert effective(tmp_path).remotes == {}
    (tmp_path / CONFIG).write_text(
        "['remote \"b\"']\nurl = ../store\n['remote \"c\"']\nuser = me\n"
    )
    (tmp_path / LOCAL_CONFIG).write_text("['remote \"b\"']\npassword = s3cr3t\n")
    assert effective(tmp_path).remotes == {
        "b": {"url": str(tmp_path / "store"), "password": "s3cr3t"},
        "c": {"user": "me"},
    }
    assert in_git(tmp_path).remotes["b"] == {"url": "../store"}


def test_what_is_lent_is_what_dvc_reads_and_the_owner_alone(tmp_path: Path) -> None:
    (tmp_path / ".dvc").mkdir()
    lent = DvcConfig(
        remotes={"b": {"url": "s3://x/y", "password": "a, 'b' #c"}},
        default_remote="b",
        cache="../not lent",
    )
    lend_storage(lent, tmp_path, cache=tmp_path / "cache, shared")
    got = of_dvc(tmp_path / LOCAL_CONFIG)
    assert (got.remotes, got.default_remote) == (lent.remotes, "b")
    assert got.cache == str(tmp_path / "cache, shared")
    assert (tmp_path / LOCAL_CONFIG).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("['remote \"b\"']\npassword s3cr3t\n", r"config:2: expected \[SECTION\] or KEY = VALUE"),
        ("[core]\n[core]\n", "config:2: is there twice"),
        ("['remote \"b\"']\npassword = s3cr3t, x\n", 'config: remote "b".password: '),
        ("[core]\n" + "[" * 50_000, "config:2: is 50000 characters long"),
        ("\n" + " " * 500 + "s3cr3t", "config:2: is 506 characters long, indented by 500"),
    ],
)
def test_a_damaged_file_is_named_without_what_it_holds(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        parse(content_of(text, "config"))
    assert "s3cr3t" not in str(caught.value)
