"""The short form of `make fuzz`: what once went wrong, and some hundred files for each reader."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.cases import content
from tests.fuzz.judge import BrokenWordError, judge, kept
from tests.fuzz.reader import Reader
from tests.fuzz.readers import READERS

EXAMPLES, NATIVE_EXAMPLES = 200, 60  # the whole in half a minute

KEPT = [(reader, path) for reader in READERS.values() for path in kept(reader)]


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_what_is_valid_is_read(reader: Reader, tmp_path: Path) -> None:
    for raw in reader.valid():
        judge(reader, tmp_path, raw)


@pytest.mark.parametrize(
    ("reader", "path"), KEPT, ids=[f"{reader.name}-{path.name}" for reader, path in KEPT]
)
def test_what_once_went_wrong_is_said_in_a_line(reader: Reader, path: Path, tmp_path: Path) -> None:
    judge(reader, tmp_path, path.read_bytes())


@pytest.mark.heavy
@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_a_value_or_one_line_whatever_lies_there(reader: Reader, tmp_path: Path) -> None:
    valid = reader.valid()

    @settings(
        max_examples=NATIVE_EXAMPLES if reader.native else EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.binary(min_size=4, max_size=48))
    def any_file(data: bytes) -> None:
        judge(reader, tmp_path, content(valid, data))

    any_file()


def test_the_judge_sees_a_traceback_and_a_nameless_error(tmp_path: Path) -> None:
    row = READERS["manifest"]
    broken = Reader(name="broken", valid=row.valid, read=lambda path: {}["key"])
    with pytest.raises(BrokenWordError, match="broken: KeyError"):
        judge(broken, tmp_path, b"")
    nameless = Reader(name="nameless", valid=row.valid, read=lambda path: row.read(path.parent))
    with pytest.raises(BrokenWordError, match="does not name the file"):
        judge(nameless, tmp_path, b"")
