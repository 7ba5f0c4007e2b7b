"""Adapting at the shift: `python -m benchmarks.adaptation`; see trainings.py."""

from __future__ import annotations

from benchmarks.adaptation.trainings import main

if __name__ == "__main__":
    main()
