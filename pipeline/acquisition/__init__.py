"""Which images people are asked for: one row per strategy.

`query` is what every strategy has in common: the audit share, and a cold start where what the
strategy goes by is not there yet.
"""

from __future__ import annotations

from pipeline.acquisition.select import query
from pipeline.acquisition.strategies import DEFAULT, STRATEGIES, resolved, strategy

__all__ = ["DEFAULT", "STRATEGIES", "query", "resolved", "strategy"]
