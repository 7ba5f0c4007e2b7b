"""Another user of the machine: what a program sees that is not the workspace's owner."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

NOBODY = 65534
# Loaded first, since the interpreter itself may lie where the other user cannot go.
_BECOME = f"""
import encodings.idna, json, os, pathlib, sys, urllib.error, urllib.request
os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
"""
_READ = """
seen = []
for name in json.load(sys.stdin):
    try:
        pathlib.Path(name).open("rb").close()
    except OSError:
        continue
    seen.append(name)
print(json.dumps(seen))
"""


def run_as_nobody(program: str, told: Any = None) -> Any:
    """What a program prints as JSON, told something as JSON; skips unless root asks."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    done = subprocess.run(
        [sys.executable, "-I", "-c", _BECOME + program],
        input=json.dumps(told),
        cwd="/",
        env={},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def readable_by_nobody(paths: Iterable[Path]) -> set[Path]:
    """Those of the files that another user can open."""
    return {Path(name) for name in run_as_nobody(_READ, [str(path) for path in paths])}
