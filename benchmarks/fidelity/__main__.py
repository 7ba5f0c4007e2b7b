"""Formulas beside a second, plain writing of them: `python -m benchmarks.fidelity`.

Prints the table and writes fidelity.md; exit code 1 where a difference is above its row's bound.
Seconds on one core; no data, no weights.
"""

from __future__ import annotations

import sys

from benchmarks.fidelity.comparisons import rows
from benchmarks.fidelity.methods_compared import METHODS_COMPARED
from benchmarks.fidelity.models_compared import MODELS_COMPARED
from benchmarks.support import RESULTS, table
from pipeline.files import write_text

COMPARISONS = [*METHODS_COMPARED, *MODELS_COMPARED]


def main() -> int:
    """Compare, print, write."""
    found = rows(COMPARISONS)
    text = "\n".join(
        [
            "# Names that keep their promise",
            "",
            "`python -m benchmarks.fidelity`: what the product computes beside a second writing of "
            "the paper's formula in plain loops (`benchmarks/fidelity/`), on the same small "
            "values. Where paper and code disagree, and which is followed: docs/methods.",
            "",
            *table(found),
            "",
        ]
    )
    write_text(RESULTS / "fidelity.md", text)
    print(text)
    return 0 if all(row["held"] == "yes" for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())
