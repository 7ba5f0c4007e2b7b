"""`make demo` as on a fresh machine, then once more: the seconds of every phase.

`python -m benchmarks.timings.demo_time`: clones HEAD into an empty folder, runs `make demo` twice
with an empty home, then `make down`. Writes demo_time.md. `--logs FIRST SECOND` only reads kept
output.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.support import RESULTS, machine
from pipeline.files import write_text

LIMITS_MIN = (25, 10)
PHASE = re.compile(r"^done (?P<name>.+?) (?P<seconds>\d+) s$")
WHOLE = "the whole demo"
REPOSITORY = Path(__file__).parents[2]


def main() -> None:
    """Run or read both demos, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--logs", type=Path, nargs=2, metavar=("FIRST", "SECOND"))
    args = parser.parse_args()
    outputs = [path.read_text() for path in args.logs] if args.logs else run_twice()
    write_text(RESULTS / "demo_time.md", _markdown([phases(output) for output in outputs]))


def run_twice() -> list[str]:
    """What both demos wrote; SystemExit where one fails."""
    with tempfile.TemporaryDirectory(prefix="ssl-loop-demo-") as folder:
        clone, home = Path(folder) / "ssl-loop", Path(folder) / "home"
        home.mkdir()
        subprocess.run(["git", "clone", "--quiet", REPOSITORY, clone], check=True)
        environ = {**os.environ, "HOME": str(home)}
        try:
            return [_make_demo(clone, environ) for _ in LIMITS_MIN]
        finally:
            subprocess.run(["make", "down"], cwd=clone, env=environ, check=True)


def phases(output: str) -> dict[str, int]:
    """Seconds by phase, as the demo says them: `done NAME N s`."""
    found = [PHASE.match(line.strip()) for line in output.splitlines()]
    return {match["name"]: int(match["seconds"]) for match in found if match}


def _make_demo(clone: Path, environ: dict[str, str]) -> str:
    lines = []
    with subprocess.Popen(
        ["make", "demo"], cwd=clone, env=environ, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            sys.stdout.write(line)
            lines.append(line)
    if process.returncode:
        raise SystemExit(f"make demo: exit code {process.returncode}")
    return "".join(lines)


def _markdown(runs: Sequence[dict[str, int]]) -> str:
    names = list(dict.fromkeys(name for run in runs for name in run))
    lines = [
        "# `make demo`, seconds by phase",
        "",
        "From a fresh clone with an empty home, then again in the same clone. "
        f"`python -m benchmarks.timings.demo_time`; {machine()}.",
        "",
        "| phase | first | again |",
        "|---|---|---|",
    ]
    for name in names:
        cells = [str(run.get(name, "-")) for run in runs]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    whole = [run["installing"] + run[WHOLE] for run in runs]
    lines += [
        f"| **all, with installing** | **{whole[0]}** | **{whole[1]}** |",
        f"| target | {LIMITS_MIN[0] * 60} | {LIMITS_MIN[1] * 60} |",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
