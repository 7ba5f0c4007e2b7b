"""Methods with few labels: `python -m benchmarks.methods`; see few_labels.py."""

from __future__ import annotations

from benchmarks.methods.few_labels import main

if __name__ == "__main__":
    main()
