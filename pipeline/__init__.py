"""Pixels in, pixels out: data, models, methods, acquisition, report. No SQL, Prefect, git, network."""

__version__ = "0.1.0"
