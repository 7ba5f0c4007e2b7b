"""What every test process does first."""

from __future__ import annotations

import os

from pipeline.runtime.torch_settings import settle_torch

# Beside other test processes a core each: torch is not imported yet, and programs inherit it.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
settle_torch()
