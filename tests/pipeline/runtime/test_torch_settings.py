"""Threads, how they wait, and freed memory that stays; by a call, not by an import."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.runtime.torch_settings import (
    SET_BY_USER,
    keep_freed_memory,
    settle_threads,
    usable_processors,
)

ALLOWED = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
FAULTS_OF_LARGE_BLOCKS = """
import resource
{first}
import torch
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(16 * 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""
SETTLED = "from pipeline.runtime.torch_settings import settle_torch; settle_torch()"
IMPORTED = """
import os, sys
before = dict(os.environ)
import pipeline, pipeline.config.params, flows.cli
print(dict(os.environ) == before, "torch" in sys.modules)
"""


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000", ALLOWED), ("50000 100000", 1), ("99900000 100000", ALLOWED)],
)
def test_a_containers_quota_counts(tmp_path: Path, quota: str, expected: int) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(quota)
    assert usable_processors(file) == expected


def test_without_a_quota_the_affinity_counts(tmp_path: Path) -> None:
    assert usable_processors(tmp_path / "absent") == ALLOWED


def test_threads_that_the_user_set_stay(tmp_path: Path) -> None:
    environ = {"OMP_NUM_THREADS": "7", "OMP_WAIT_POLICY": "PASSIVE"}
    before = dict(environ)
    settle_threads(environ, tmp_path / "absent")
    assert environ == before


def test_threads_spin_before_they_sleep(tmp_path: Path) -> None:
    environ: dict[str, str] = {}
    settle_threads(environ, tmp_path / "absent")
    assert environ == {"OMP_NUM_THREADS": str(ALLOWED), "GOMP_SPINCOUNT": "10000"}


def faults(first: str) -> int:
    """Page faults of 20 tensors of 64 MiB, each freed before the next."""
    environ = {name: value for name, value in os.environ.items() if name not in SET_BY_USER}
    program = [sys.executable, "-c", FAULTS_OF_LARGE_BLOCKS.format(first=first)]
    run = subprocess.run(program, env=environ, capture_output=True, text=True, check=True)
    return int(run.stdout)


@pytest.mark.programs
def test_large_blocks_are_mapped_once_and_only_when_asked() -> None:
    pages = 64 * 2**20 // resource.getpagesize()
    assert faults(SETTLED) < pages  # less than one block of the twenty
    assert faults("import pipeline") > pages


@pytest.mark.parametrize("name", SET_BY_USER)
def test_memory_that_the_user_set_stays(name: str) -> None:
    assert not keep_freed_memory({name: "1"})


@pytest.mark.programs
def test_importing_the_package_changes_nothing() -> None:
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
    program = [sys.executable, "-c", IMPORTED]
    run = subprocess.run(program, env=environ, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["True", "False"]
