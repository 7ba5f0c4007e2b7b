"""The program behind `make mutants`, on a checkout of two files; and its table, row by row."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mutants.bench import Bench, bench
from tests.mutants.mutant import Mutant, StaleError, stale
from tests.mutants.planted import PLANTED

ROOT = Path(__file__).parents[2]
SUM = "def plus(a, b):\n    return a + b\n"
TEST = "from sums import plus\n\n\ndef test_plus():\n    assert plus(2, 2) == 4\n"
FOREIGN = "def test_other():\n    import db\n"
FILE, TESTS = "sums.py", "test_sums.py"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    checkout = tmp_path_factory.mktemp("checkout")
    for name, text in ((FILE, SUM), (TESTS, TEST), ("test_foreign.py", FOREIGN)):
        (checkout / name).write_text(text)
    subprocess.run("git init -q && git add .", shell=True, cwd=checkout, check=True)
    (checkout / "untracked.py").touch()
    with bench(checkout, tmp_path_factory.mktemp("bench"), heavy=()) as made:
        yield made


@pytest.mark.programs
def test_a_fault_is_caught_by_the_test_that_fails_and_taken_out_again(place: Bench) -> None:
    assert place.failing([TESTS]) == ""
    outcome = place.judged(Mutant("minus", FILE, "a + b", "a - b", TESTS))
    assert outcome.caught_by == "test_sums.py::test_plus"
    assert place.failing([TESTS]) == ""
    assert (place.root / FILE).read_text() == SUM
    assert not (place.root / "untracked.py").exists()


@pytest.mark.programs
def test_a_fault_that_nothing_notices_survives(place: Bench) -> None:
    assert place.judged(Mutant("times", FILE, "a + b", "a * b", TESTS)).caught_by == ""


@pytest.mark.programs
@pytest.mark.parametrize(
    ("old", "new", "tests", "said"),
    [("a - b", "a + b", TESTS, "0 times"), ("a", "b", TESTS, r"\d times"),
     ("a + b", "a +", TESTS, "no Python"), ("a + b", "a", f"{TESTS}::test_gone", "there is no")],
)  # fmt: skip
def test_a_row_that_no_longer_fits_is_refused(
    place: Bench, old: str, new: str, tests: str, said: str
) -> None:
    mutant = Mutant("wrong", FILE, old, new, tests)
    assert len(stale(place.root, [mutant])) == 1
    with pytest.raises(StaleError, match=said):
        place.judged(mutant)
    assert (place.root / FILE).read_text() == SUM


@pytest.mark.programs
def test_tests_that_import_from_outside_the_copy_prove_nothing(place: Bench) -> None:
    with pytest.raises(RuntimeError, match="db was imported from"):
        place.failing(["test_foreign.py"])


def test_the_table_fits_the_code() -> None:
    mutants = [mutant for planted in PLANTED.values() for mutant in planted]
    assert stale(ROOT, mutants) == []
    assert len({mutant.what for mutant in mutants}) == len(mutants)
