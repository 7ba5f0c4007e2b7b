"""BALD over one array, ours against baal's: `python -m benchmarks.timings.bald`.

Both sides get the same .npy file, 4 images of 360x480, 11 classes and 10 members, each in a process
of its own, alternately: seconds of a call, and how far its peak memory is above the array's. baal
lives in an environment of its own, `build/peers/baal`, that the first run makes and fills from the
package index (some GB, a few minutes). Writes bald.{json,md}; exit code 1 where a bar is missed.
For a quiet machine: on a busy one the ratio was anything from 4 to 11.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.support import RESULTS, machine, table
from pipeline.files import write_json, write_text

ROOT = Path(__file__).parents[2]
PEER = "baal==2.1.0"
PEER_FOLDER = ROOT / "build/peers/baal"
SHAPE = (4, 11, 360, 480, 10)  # images, classes, height, width, members
BARS = {"times faster": 10.0, "share of the peer's memory": 1 / 3, "largest difference": 1e-4}
SIDES = {
    "baal": "baal 2.1.0",
    "array": "`bald_of`",
    "one_core": "`bald_of`, one processor",
    "streamed": "`Members`, one member at a time, one processor",
}


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of all sides, one after the other")
    args = parser.parse_args()
    peer = peer_python()
    with tempfile.TemporaryDirectory() as folder:
        array = Path(folder) / "probs.npy"
        np.save(array, probabilities())
        rounds = [{side: measure(side, array, peer) for side in SIDES} for _ in range(args.rounds)]
        values = {side: np.load(array.with_name(f"{side}.npy")) for side in SIDES}
    rows = [row(side, rounds, values) for side in SIDES]
    held = holds(rows[1])
    write_json(RESULTS / "bald.json", {"rows": rows, "bars": BARS, "bars held": held})
    text = "\n".join(report(rows, args.rounds, held))
    write_text(RESULTS / "bald.md", text)
    print(text)
    return 0 if held else 1


def peer_python() -> Path:
    """The interpreter of the peer's environment, which is made where it is not there."""
    python = PEER_FOLDER / "bin/python"
    ready = PEER_FOLDER / "ready"
    if not ready.exists():
        print(f"making {PEER_FOLDER} with {PEER}; this takes a few minutes", file=sys.stderr)
        venv.create(PEER_FOLDER, clear=True, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-qq", PEER], check=True)
        ready.touch()
    return python


def probabilities() -> NDArray[np.float32]:
    """float32 of SHAPE, the softmax of noise over the classes; the same at every call."""
    rng = np.random.default_rng(0)
    probs_NKHWM = 2 * rng.standard_normal(SHAPE, dtype=np.float32)
    np.exp(probs_NKHWM, out=probs_NKHWM)
    probs_NKHWM /= probs_NKHWM.sum(axis=1, keepdims=True)
    return probs_NKHWM


def measure(side: str, array: Path, peer: Path) -> dict[str, float]:
    """What benchmarks/timings/bald_side.py says, run by the interpreter of that side."""
    python = peer if side == "baal" else Path(sys.executable)
    command = [
        str(each) for each in (python, ROOT / "benchmarks/timings/bald_side.py", side, array)
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def row(
    side: str, rounds: list[dict[str, Any]], values: dict[str, NDArray[np.float32]]
) -> dict[str, Any]:
    """Medians over the rounds; ours is in nats / log K, the peer's in nats."""
    seconds = statistics.median(each[side]["seconds"] for each in rounds)
    mib = statistics.median(each[side]["mib"] for each in rounds)
    ratios = [each["baal"]["seconds"] / each[side]["seconds"] for each in rounds]
    peer_mib = statistics.median(each["baal"]["mib"] for each in rounds)
    unit = 1.0 if side == "baal" else np.log(SHAPE[1])
    return {
        "side": SIDES[side],
        "seconds": round(seconds, 3),
        "MiB over the array": round(mib, 1),
        "times faster": round(statistics.median(ratios), 1),
        "share of the peer's memory": round(mib / peer_mib, 3),
        "largest difference": f"{np.abs(values[side] * unit - values['baal']).max():.0e}",
    }


def holds(found: dict[str, Any]) -> bool:
    """Whether all bars are kept."""
    return (
        found["times faster"] >= BARS["times faster"]
        and found["share of the peer's memory"] <= BARS["share of the peer's memory"]
        and float(found["largest difference"]) <= BARS["largest difference"]
    )


def report(rows: list[dict[str, Any]], num_rounds: int, held: bool) -> list[str]:
    """Lines of Markdown."""
    shape = "x".join(map(str, SHAPE))
    return [
        f"# BALD over {shape} against {PEER}",
        "",
        f"`python -m benchmarks.timings.bald`: medians of {num_rounds} rounds, in each every side "
        f"in a process of its own on the same array (float32, {np.prod(SHAPE) * 4 / 2**20:.0f} "
        f"MiB, members last), the best of 3 calls. {machine()}. Ratios are taken within a round. "
        f"Bars for `bald_of`: {BARS['times faster']:g} times faster, a third of the memory, the "
        f"same values to {BARS['largest difference']:g}: {'held' if held else 'MISSED'}.",
        "",
        *table(rows),
        "",
        "`Members` is what the stage predict uses: it never sees an array of all members. Here it "
        "is fed with strips of slices of one, ten values apart, slower than what a network gives.",
        "",
    ]


if __name__ == "__main__":
    sys.exit(main())
