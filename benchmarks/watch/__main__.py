"""How soon a watch notices a shift: `python -m benchmarks.watch`; see streams.py."""

from __future__ import annotations

from benchmarks.watch.streams import main

if __name__ == "__main__":
    main()
