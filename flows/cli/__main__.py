"""`python -m flows.cli`: the command `ssl-loop` without its script."""

from __future__ import annotations

from flows.cli import main

if __name__ == "__main__":
    main()
