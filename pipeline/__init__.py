"""Pixels in, pixels out: data, models, methods, acquisition, report.

No SQL, no Prefect, no git, no network.
"""

import os

__version__ = "0.1.0"

# Before torch is imported: its threads sleep, not spin, while they wait for each other. On a
# machine that other programs share, spinning made a training step ten times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
