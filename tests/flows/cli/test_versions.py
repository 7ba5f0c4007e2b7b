from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flows.cli import main


def ssl_loop(root: Path, *arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [*(str(a) for a in arguments), "-w", str(root)])


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (["history", "--json"], "rounds"),
        (["diff", "day/r0", "day/r1", "--json"], "masks"),
        (["lineage", "day/r1", "--json"], "labels"),
        (["lineage", "--sample", "day/img003", "--json"], "sightings"),
        (["remote", "list", "--json"], "not_pushed"),
    ],
)
def test_json_for_scripts(shifted: Path, arguments: list[str], key: str) -> None:
    done = ssl_loop(shifted, *arguments)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert key in (found[0] if isinstance(found, list) else found)


def test_words_for_people(shifted: Path, tmp_path: Path) -> None:
    assert "day/final" in ssl_loop(shifted, "history").output
    assert "masks new: 2" in ssl_loop(shifted, "diff", "day/r0", "day/r1").output
    said = ssl_loop(shifted, "lineage", "day/r1").output
    assert "learnt from 4 images: 2 annotations, 2 with ground truth" in said
    assert "say the same" in said
    assert "judged" not in ssl_loop(shifted, "lineage", "--sample", "day/img003").output
    restored = ssl_loop(shifted, "restore", "day/r0", "--into", tmp_path / "old")
    assert restored.exit_code == 0, restored.output
    assert "by MD5, with none missing" in restored.output
    assert "data: none" in ssl_loop(tmp_path / "old", "remote", "list").output


def test_errors_are_one_message(shifted: Path) -> None:
    for arguments, said in (
        (["lineage"], "name a model or a tag"),
        (["lineage", "day/r9"], "near it: day/r"),
        (["remote", "push"], "ssl-loop remote add"),
        (["remote", "remove"], "no remote"),
        (["remote", "add"], "name an address"),
        (["remote", "add", "ftp://host/x"], "s3://"),
    ):
        done = ssl_loop(shifted, *arguments)
        assert done.exit_code != 0
        assert said in done.output, done.output
        assert "Traceback" not in done.output
