"""How fast a device trains and predicts, and what CamVid gives on it: one command, in slices.

`python -m benchmarks.gpu`: each piece runs in a process of its own and is kept in a JSON as soon as
it is done; whatever is missing when a slice's minutes are over goes on in the next call, a training
at its checkpoint. Rates beside bare passes of the same network in the same process; CamVid at
360x480 where `--data` says where it is. Settings are fixed: nothing is chosen by what comes out.
Needs torch and the files alone, no service. Writes gpu.md.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gpu.gpu_report import KEPT, report
from benchmarks.gpu.measured_rates import measured_rates
from benchmarks.gpu.pieces import PIECES, Piece, Scale, camvid_piece
from benchmarks.support import RESULTS, device
from pipeline.files import write_json, write_text

SLICE_MINUTES = 8.5


@dataclass(frozen=True, kw_only=True)
class Slice:
    """What one call may do."""

    data: Path | None
    device: str
    scale: Scale
    minutes: float

    def file(self, piece: Piece) -> Path:
        """Where a piece is kept."""
        return KEPT / f"{self.device}-{self.scale}-{piece.name}.json"

    def missing(self) -> list[Piece]:
        """In the order they are to run in."""
        return [
            piece
            for piece in PIECES
            if not self.file(piece).exists() and (self.data or piece.kind == "rates")
        ]


def main() -> None:
    """Run what is missing, as far as a slice's minutes reach; one piece where one is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="holds camvid/ and encoders/")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="sizes and steps for a CPU")
    parser.add_argument("--minutes", type=float, default=SLICE_MINUTES)
    parser.add_argument("--piece", help="this one, in this process")
    args = parser.parse_args()
    part = Slice(
        data=args.data,
        device=args.device,
        scale="small" if args.small else "full",
        minutes=args.minutes,
    )
    if args.piece:
        (piece,) = (piece for piece in PIECES if piece.name == args.piece)
        _run(part, piece)
    else:
        _run_slice(part, sys.argv[1:])


def _run(part: Slice, piece: Piece) -> None:
    if piece.kind == "rates":
        found = measured_rates(piece.method, part.device, part.scale)
    else:
        assert part.data is not None  # missing() leaves it out
        found = camvid_piece(piece, part.data, part.device, part.scale)
    write_json(part.file(piece), {"machine": device(), "scale": part.scale, **found})


def _run_slice(part: Slice, words: list[str]) -> None:
    """Each missing piece in a process of its own, ended where the minutes are over."""
    ends = time.monotonic() + 60 * part.minutes
    for piece in part.missing():
        print(f"gpu-bench: {piece.name}", flush=True)
        command = [sys.executable, "-m", "benchmarks.gpu", *words, "--piece", piece.name]
        try:
            subprocess.run(command, check=True, timeout=max(1.0, ends - time.monotonic()))
        except subprocess.TimeoutExpired:
            break
    write_text(RESULTS / "gpu.md", report())
    left = [piece.name for piece in part.missing()]
    print(f"gpu-bench: left: {', '.join(left)}; the same command goes on" if left else "all done")


if __name__ == "__main__":
    main()
