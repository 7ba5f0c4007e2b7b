"""All planted faults, by subject: a row that no longer fits the code is named before anything runs.

When a planted line changes, change its row here; when a row survives, a test is missing.
"""

from __future__ import annotations

from tests.mutants.learning import LEARNING
from tests.mutants.loop import LOOP
from tests.mutants.mutant import Mutant
from tests.mutants.rules import RULES

PLANTED: dict[str, tuple[Mutant, ...]] = RULES | LOOP | LEARNING
