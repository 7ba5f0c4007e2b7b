"""The shift report beside the truth: `python -m benchmarks.shift`; see pairs.py."""

from __future__ import annotations

from benchmarks.shift.pairs import main

if __name__ == "__main__":
    main()
