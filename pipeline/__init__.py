"""Pixels in, pixels out: data, models, methods, acquisition, report.

No SQL, no Prefect, no git, no network.
"""

__version__ = "0.1.0"
