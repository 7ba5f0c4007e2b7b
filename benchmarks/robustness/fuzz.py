"""`make fuzz`: damaged files for every reader, and whether it kept its word.

python -m benchmarks.robustness.fuzz [--cases 100000] [--reader NAME ...] [--jobs 1]

Each reader runs in a process of its own. atheris, where it is installed, follows the coverage of
readers in Python; what is read by native code (images, tensors, tables of scores, the ledger) and
everything where atheris is missing gets cases that hypothesis draws. Cases that go wrong are kept
in tests/fuzz/corpus, where CI reads them again. After Ctrl-C it goes on where it was. The table is
benchmarks/results/fuzz.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.support import RESULTS
from pipeline.files import write_json, write_text
from pipeline.reading import read
from tests.faults.report import revision

ROOT = Path(__file__).parents[2]
RESULT = RESULTS / "fuzz.md"
KEPT = ROOT / "build/fuzz"
PEAK_LIMIT_MIB = 512  # beyond what importing takes
ENGINES = ("atheris", "hypothesis")
NO_ATHERIS = "atheris is not installed here (Linux on x86-64 alone has it): no coverage is followed"


@dataclass
class Tally:
    """How one reader did."""

    reader: str
    engine: str
    cases: int = 0
    taken: int = 0
    """Files that gave a value."""
    seconds: float = 0.0
    tracebacks: int = 0
    hangs: int = 0
    peak_mib: float = 0.0
    """Of memory, beyond what importing took."""
    wrong: list[str] = field(default_factory=list)
    """The first few, with where they are kept."""

    @property
    def clean(self) -> bool:
        """Whether nothing went wrong."""
        return not (self.tracebacks or self.hangs or self.peak_mib > PEAK_LIMIT_MIB)


def fuzz(name: str, engine: str, cases: int, result: Path) -> None:
    """Run one reader in this process; `result` has its tally when the process ends."""
    if engine == "atheris":
        import atheris

        with atheris.instrument_imports(include=["pipeline", "flows", "json", "csv"]):
            run = _judged_run(name, engine, cases, result)

        def one(data: bytes) -> None:
            run(data)

        arguments = [f"-runs={cases}", "-max_len=64", "-timeout=60", "-verbosity=0"]
        arguments += ["-rss_limit_mb=0", "-print_final_stats=0"]
        atheris.Setup([sys.argv[0], *arguments], one)
        atheris.Fuzz()  # ends the process
        return
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import strategies as st

    run = _judged_run(name, engine, cases, result)

    @settings(
        max_examples=cases,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.binary(min_size=4, max_size=64))
    def all_of_them(data: bytes) -> None:
        run(data)

    all_of_them()
    while not run(os.urandom(48)):  # hypothesis stops early where it finds nothing new
        pass


def _judged_run(name: str, engine: str, cases: int, result: Path) -> Any:
    """A function of a string of decisions; whether as many cases as wanted were judged."""
    from tests.fuzz.cases import content
    from tests.fuzz.judge import BrokenWordError, HangError, judge, keep
    from tests.fuzz.readers import READERS

    reader = READERS[name]
    valid = reader.valid()
    folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    for raw in valid:
        judge(reader, folder, raw)  # whatever is imported late is by now
    tally = Tally(reader=name, engine=engine)
    began, before = time.monotonic(), _peak_mib()

    def run(data: bytes) -> bool:
        raw = content(valid, data)
        try:
            tally.taken += judge(reader, folder, raw)
        except (BrokenWordError, HangError) as error:
            tally.hangs += isinstance(error, HangError)
            tally.tracebacks += isinstance(error, BrokenWordError)
            if len(tally.wrong) < 20:
                tally.wrong.append(f"{keep(reader, raw).name}: {error or 'hang'}")
                traceback.print_exception(error, limit=-4)
        tally.cases += 1
        if tally.cases % 500 == 0 or tally.cases >= cases:
            tally.seconds, tally.peak_mib = time.monotonic() - began, _peak_mib() - before
            write_json(result, asdict(tally))
        return tally.cases >= cases

    return run


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def fuzz_all(names: list[str], cases: int, jobs: int) -> list[Tally]:
    """One process for each reader, `jobs` at a time; a line each as it ends.

    What was judged at this commit before, to the end and clean, is not judged again.
    """
    from tests.fuzz.readers import READERS

    follows = find_spec("atheris") is not None
    if not follows:
        print(NO_ATHERIS)
    kept = KEPT / f"{revision()}-{cases}"

    def one(name: str) -> Tally:
        file = kept / f"{name.replace(' ', '_')}.json"
        known = read(file).json(Tally) if file.exists() else None
        if known and known.cases >= cases and known.clean:
            return known
        engine = "atheris" if follows and not READERS[name].native else "hypothesis"
        tally = _in_a_process(name, engine, cases, file)
        print(f"{_line(tally)}{''.join(f'{chr(10)}  {what}' for what in tally.wrong)}", flush=True)
        return tally

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(one, names or READERS))


def _in_a_process(name: str, engine: str, cases: int, result: Path) -> Tally:
    result.parent.mkdir(parents=True, exist_ok=True)
    result.unlink(missing_ok=True)
    argv = [sys.executable, "-m", "benchmarks.robustness.fuzz", "--cases", str(cases)]
    argv += ["--one", name, "--engine", engine, "--result", str(result)]
    done = subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    tally = read(result).json(Tally) if result.exists() else Tally(name, engine)
    if tally.cases < cases:  # it crashed: a traceback of the worst kind
        tally.tracebacks += 1
        tally.wrong.append(f"ended with {done.returncode}: {done.stderr[-300:]}")
    return tally


def _line(tally: Tally) -> str:
    share = tally.taken / max(1, tally.cases)
    return (
        f"| {tally.reader} | {tally.engine} | {tally.cases:,} | {share:.0%} | {tally.seconds:.0f} "
        f"| {tally.tracebacks} | {tally.hangs} | {max(0.0, tally.peak_mib):.0f} |"
    )


def page(tallies: list[Tally]) -> str:
    """The table in Markdown."""
    cases = sum(tally.cases for tally in tallies)
    clean = sum(tally.clean for tally in tallies)
    lines = [
        "# Damaged files, reader by reader",
        "",
        f"`make fuzz` at {revision()}, {datetime.now(UTC):%Y-%m-%d}, "
        f"Python {platform.python_version()}: {cases:,} files, {clean} of {len(tallies)} readers "
        "clean. *Taken* files gave a value, the others "
        "one error of ours that names the file. Peak is memory beyond imports, at most "
        f"{PEAK_LIMIT_MIB} MiB; a hang is more than 10 s for a file.",
        "",
        "| reader | engine | cases | taken | s | tracebacks | hangs | peak MiB |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
        *map(_line, tallies),
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Exit code 1 where a reader broke its word."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=100_000, help="for each reader")
    parser.add_argument("--reader", action="append", default=[], help="only this; repeatable")
    parser.add_argument("--jobs", type=int, default=1, help="readers at a time")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--engine", choices=ENGINES, help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        fuzz(args.one, args.engine, args.cases, args.result)
        return 0
    tallies = fuzz_all(args.reader, args.cases, args.jobs)
    if not args.reader:
        write_text(RESULT, page(tallies))
    return 0 if all(tally.clean for tally in tallies) else 1


if __name__ == "__main__":
    sys.exit(main())
