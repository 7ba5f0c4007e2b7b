"""A round as one HTML page: facts in, a file out."""

from __future__ import annotations

from pipeline.report.round_page import render

__all__ = ["render"]
