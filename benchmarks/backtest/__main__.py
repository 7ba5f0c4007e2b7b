"""Backtests of public data sets: `python -m benchmarks.backtest`; see cases.py."""

from __future__ import annotations

from benchmarks.backtest.cases import main

if __name__ == "__main__":
    main()
