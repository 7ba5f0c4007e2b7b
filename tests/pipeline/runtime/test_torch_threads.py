"""The number of threads and how they wait."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.runtime.torch_threads import settle_threads, usable_processors

ALLOWED = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


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


def test_what_the_user_set_stays(tmp_path: Path) -> None:
    environ = {"OMP_NUM_THREADS": "7", "OMP_WAIT_POLICY": "PASSIVE"}
    before = dict(environ)
    settle_threads(environ, tmp_path / "absent")
    assert environ == before


def test_threads_spin_before_they_sleep(tmp_path: Path) -> None:
    environ: dict[str, str] = {}
    settle_threads(environ, tmp_path / "absent")
    assert environ == {"OMP_NUM_THREADS": str(ALLOWED), "GOMP_SPINCOUNT": "10000"}
