"""Files that are not what they should be: one line with the file, the place and what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.params import load_params
from pipeline.errors import ConfigError, DataError, ServiceError
from pipeline.reading import Document, content_of, read
from pipeline.records.manifest import parse_manifest, read_manifest


@dataclass(frozen=True)
class Fact:
    number: int
    share: float | None
    names: tuple[str, ...] = ()


def refused(content: bytes | str, form: Any = dict[str, Any]) -> str:
    with pytest.raises(DataError) as caught:
        content_of(content, "a.json").json(form)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("names: \xe4\n".encode("latin-1"), "f:1: is not UTF-8 text: byte 0xe4; mend it"),
        ("a\nb\nx: \xe4".encode("utf-16"), "f:1: is not UTF-8 text: byte 0xff"),
        (b"a\n\0b", r"f:2: a NUL character \(U\+0000\), expected text"),
        (b"\xed\xa0\x80", "f:1: is not UTF-8 text: byte 0xed"),
    ],
)
def test_text_in_another_encoding(raw: bytes, words: str) -> None:
    with pytest.raises(DataError, match=words):
        content_of(raw, "f").text()


def test_marks_and_line_ends_of_other_systems_are_no_part_of_a_text() -> None:
    assert content_of(b"\xef\xbb\xbfa\r\nb\rc\n", "f").text() == "a\nb\nc\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "a.json:1: not valid JSON, column 1"),
        ('{"a": 1,\n "b": }', "a.json:2: not valid JSON, column 7"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100 + "1" + "}" * 100, "nested more than 60 deep"),
        (f'{{"a": {"9" * 5000}}}', "more than 64 bits hold"),
        ('{"a": 9223372036854775808}', "more than 64 bits hold"),
        ('{"a": 1e999}', "larger than any number"),
        ('{"a": NaN}', "NaN: no number"),
        ('{"a": -Infinity}', "-Infinity: no number"),
        ('{"a": "\\ud800"}', "half a character"),
        ('{"a\\u0000": 1}', "a NUL character"),
        ("[]", "the whole: input should be a valid dictionary"),
    ],
)
def test_json_that_is_none(text: str, words: str) -> None:
    assert words in refused(text)


def test_a_key_of_another_type_is_named() -> None:
    assert "a.json: share: input should be a valid number" in refused(
        '{"number": 1, "share": "much"}', Fact
    )
    assert "names.0: input should be a valid string, got 3 (and 1 more)" in refused(
        '{"number": 1, "share": 0, "names": [3, 4]}', Fact
    )
    assert "number: field required" in refused('{"share": null}', Fact)
    assert content_of('{"number": 1, "share": null}', "f").json(Fact) == Fact(1, None)


def test_what_a_tool_sent_is_kept_as_it_was() -> None:
    sent = content_of('{"a": "\\ud800", "b": NaN}', "f").json(dict[str, Any], lenient=True)
    assert sent["a"] == "\ud800"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1", "y:2: not valid YAML|y:1: not valid YAML"),
        ("- a", "expected a mapping of keys, got list"),
        ("", "expected a mapping of keys, got NoneType"),
        ("[" * 100_000, "not valid YAML"),  # libyaml ends the process at this one
        ("a: &a [*a]", r"alias \*a"),
        ("a: " + "9" * 5000, "not valid YAML"),
        ("a: 2001-99-99", "not valid YAML: month must be"),
        ('a: "\\ud800"', "y:1: not valid YAML: found invalid Unicode character escape code"),
        ("a: !!python/object:os.system {}", "could not determine a constructor"),
        (
            "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n"
            + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9)),
            "more than 100000 values, aliases written out",
        ),
        (
            "a0: &a0 {x: 1}\n"
            + "".join(
                f"a{i}: &a{i}\n  <<: [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9)
            ),
            "more than 100000 values, aliases written out",
        ),
    ],
)
def test_yaml_that_is_none(text: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        content_of(text, "y").yaml()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1\n", "t.csv:2: 1 cells, expected 2"),
        ("a,b\n1,2,3\n", "t.csv:2: 3 cells, expected 2"),
        ("a\n1\n", "t.csv: columns a, expected a,b"),
        ("a,b,a\n1,2,3\n", "t.csv: columns a,b,a, expected a,b"),
        ("", "t.csv: columns , expected a,b"),
        ('a,b\n\n1,"2\n', "t.csv:3: not valid CSV: unexpected end of data"),
    ],
)
def test_a_table_with_other_columns(text: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        [row.number("b") for row in content_of(text, "t.csv").table(("a", "b"))]


def test_a_row_names_its_cell() -> None:
    (row,) = content_of(f"a,b\n{'9' * 5000},{'x' * 300_000}\n", "t.csv").table(("a", "b"))
    assert len(row["b"]) == 300_000  # beyond the usual limit of a cell
    with pytest.raises(DataError, match=r"t.csv:2: a '9{60}\.\.\.', expected a whole number"):
        row.whole("a")
    for name in ("a", "b"):
        with pytest.raises(DataError, match=rf"t.csv:2: {name} .*expected a number"):
            row.number(name, 0, 1)


def test_no_file_a_folder_and_what_never_ends(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, words in (
        ("none", "no such file; write one"),
        (".", "a folder, expected a regular file"),
        ("pipe", "a FIFO, expected a regular file"),
        ("x" * 300, "cannot be read: File name too long; mend it"),
    ):
        with pytest.raises(ServiceError, match=words):
            read(tmp_path / name, error=ServiceError, absent="write one")
    with pytest.raises(DataError, match="a device, expected a regular file"):
        read(Path("/dev/zero"))


def test_a_file_without_end_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "big").open("wb") as file:
        file.truncate(2**31)
    with pytest.raises(DataError, match="2147483648 bytes, expected at most"):
        read(tmp_path / "big")


@pytest.mark.programs
def test_utf_8_whatever_the_locale_is(tmp_path: Path) -> None:
    """As of a terminal in Latin-1: class names with umlauts survive."""
    code = (
        "from pathlib import Path\n"
        "from flows.workspace.params_file import apply_changes\n"
        "from flows.workspace.workspace import template_file\n"
        "from pipeline import layout\n"
        "from pipeline.config.params import load_params\n"
        "from pipeline.files import write_text\n"
        "from pipeline.reading import read\n"
        "path = Path('params.yaml')\n"
        "write_text(path, read(template_file(layout.PARAMS)).text())\n"
        "apply_changes(path, {'classes': ['M\\xe4hne', '\\u5b57']})\n"
        "assert load_params(path).classes == ('M\\xe4hne', '\\u5b57')\n"
    )
    env = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    env["PYTHONPATH"] = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert "M\u00e4hne" in (tmp_path / "params.yaml").read_text("utf-8")
    assert load_params(tmp_path / "params.yaml").classes == ("M\u00e4hne", "\u5b57")


def test_params_in_latin_1_are_refused_by_line(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes("classes:\n- M\xe4hne\n- b\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"params.yaml:2: is not UTF-8 text: byte 0xe4"):
        load_params(path)


def test_a_manifest_with_one_image_twice_is_refused(tmp_path: Path) -> None:
    line = "day/a,day,pool,data/day/images/a.png,0,,,,0,\n"
    head = "sample_id,domain,split,image,image_sha256,mask,mask_sha256,origin,skips,left_out"
    text = f"{head}\n{line}"
    assert [s.sample_id for s in parse_manifest(text)] == ["day/a"]
    (tmp_path / "manifest.csv").write_text(text + line)
    with pytest.raises(DataError, match=r"manifest.csv:3: sample_id 'day/a', expected an id"):
        read_manifest(tmp_path / "manifest.csv")


def test_a_document_stays_what_it_is() -> None:
    document = Document(raw=b"{}", source="params.yaml at day/r0", error=ConfigError)
    assert content_of(document, "elsewhere") is document
