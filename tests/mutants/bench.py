"""Where faults are planted: a copy of the checkout, and tests that import nothing from outside."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.mutant import Mutant, planted_text

WORKER = Path(__file__).with_name("worker.py")
LIMIT_S = 240  # for one test: whoever hangs has noticed the fault too
FAILED = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", re.MULTILINE)
# What takes long to import, once for all runs.
HEAVY = ("torch", "torchvision", "timm", "sklearn.cluster", "pandas", "sqlalchemy.orm", "PIL.Image",
         "pydantic", "hypothesis", "ruamel.yaml", "httpx", "click", "scipy.stats")  # fmt: skip
PASSED, TESTS_FAILED, INTERRUPTED = 0, 1, 2  # exit codes of pytest


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one mutant."""

    mutant: Mutant
    caught_by: str
    """Node id of the first test that failed; "" where none did."""
    seconds: float


@dataclass(frozen=True)
class Bench:
    """A copy of a checkout, and the worker that runs tests in it."""

    root: Path
    worker: subprocess.Popen[str]

    def failing(self, tests: Iterable[str], *, keep_bytecode: bool = False) -> str:
        """Node id of the first failing test, "" where all pass; RuntimeError where none can run."""
        output = self.root / "pytest.log.tmp"
        options = ("-q", "-x", "--tb=no", "-rfE", "-p", "no:cacheprovider", f"--timeout={LIMIT_S}")
        assert self.worker.stdin is not None
        assert self.worker.stdout is not None
        print(json.dumps([str(output), keep_bytecode, *options, *tests]), file=self.worker.stdin)
        self.worker.stdin.flush()
        code, said = int(self.worker.stdout.readline()), output.read_text(encoding="utf-8")
        if code == PASSED:
            return ""
        found = FAILED.search(said)
        if code not in (TESTS_FAILED, INTERRUPTED) or found is None:
            raise RuntimeError(f"pytest {' '.join(tests)} ends with {code}:\n{said[-3000:]}")
        return found[1]

    @contextmanager
    def planted(self, mutant: Mutant) -> Iterator[None]:
        """With the fault in the file, which is as before afterwards, its time too."""
        path = self.root / mutant.file
        text, before, times = planted_text(self.root, mutant), path.read_bytes(), path.stat()
        path.write_text(text, encoding="utf-8")
        try:
            yield
        finally:
            path.write_bytes(before)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    def judged(self, mutant: Mutant) -> Outcome:
        """Plant it, run what should catch it, take it out again."""
        start = time.monotonic()
        with self.planted(mutant):
            caught_by = self.failing(mutant.selection)
        return Outcome(mutant=mutant, caught_by=caught_by, seconds=time.monotonic() - start)


@contextmanager
def bench(checkout: Path, folder: Path, heavy: Iterable[str] = HEAVY) -> Iterator[Bench]:
    """A copy of the tracked files, as they lie in the checkout now, committed or not."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=checkout, check=True, capture_output=True, text=True
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (checkout / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(checkout / name, folder / name)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "GIT_"))}
    # Before site-packages, where an editable install leads to the checkout.
    environment |= {"PYTHONPATH": str(folder), "COLUMNS": "1000"}
    worker = subprocess.Popen(
        [sys.executable, str(WORKER), *heavy],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield Bench(folder, worker)
    finally:
        os.killpg(worker.pid, signal.SIGKILL)  # with what it has forked
        worker.wait()
