"""What every test process does first."""

from __future__ import annotations

import os

from hypothesis import settings

from pipeline.runtime.torch_settings import settle_torch
from tests.support.process_state import leaves_the_process_as_it_was
from tests.support.programs import (
    pytest_collection_finish,
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_runtest_call,
    pytest_runtest_setup,
    pytest_runtest_teardown,
)

__all__ = [  # pytest's hooks, and a fixture of all tests
    "leaves_the_process_as_it_was",
    "pytest_collection_finish",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_runtest_call",
    "pytest_runtest_setup",
    "pytest_runtest_teardown",
]

# Beside other test processes a core each: torch is not imported yet, and programs inherit it. Set
# in any case: such a process inherits the number that the first one has settled for itself.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"
settle_torch()

# The same cases in every run, and no limit of time that a busy machine could break.
settings.register_profile("ssl-loop", deadline=None, derandomize=True, database=None)
settings.load_profile("ssl-loop")
