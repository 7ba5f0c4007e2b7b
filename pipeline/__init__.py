"""Pixels in, pixels out: data, models, methods, acquisition, report.

No SQL, no Prefect, no git, no network.
"""

import os

from pipeline.runtime.torch_memory import keep_freed_memory
from pipeline.runtime.torch_threads import settle_threads

__version__ = "0.1.0"

settle_threads(os.environ)
keep_freed_memory(os.environ)
