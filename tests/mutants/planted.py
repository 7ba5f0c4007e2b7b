"""All planted faults, by subject: a row that no longer fits the code is named before anything runs.

When a planted line changes, change its row here; when a row survives, a test is missing.
"""

from __future__ import annotations

from tests.mutants.answers_and_ledger import ANSWERS_AND_LEDGER
from tests.mutants.deployed import DEPLOYED
from tests.mutants.encoder_weights import ENCODER_WEIGHTS
from tests.mutants.large_images import LARGE_IMAGES
from tests.mutants.learning import LEARNING
from tests.mutants.mutant import Mutant
from tests.mutants.package import PACKAGE
from tests.mutants.plans_made import PLANS_MADE
from tests.mutants.probes import PROBES
from tests.mutants.rules import RULES
from tests.mutants.second_look import SECOND_LOOK
from tests.mutants.tick import TICK_MUTANTS
from tests.mutants.versions_and_services import VERSIONS_AND_SERVICES

PLANTED: dict[str, tuple[Mutant, ...]] = (
    RULES
    | TICK_MUTANTS
    | ANSWERS_AND_LEDGER
    | VERSIONS_AND_SERVICES
    | LEARNING
    | ENCODER_WEIGHTS
    | PLANS_MADE
    | PROBES
    | LARGE_IMAGES
    | PACKAGE
    | DEPLOYED
    | SECOND_LOOK
)
