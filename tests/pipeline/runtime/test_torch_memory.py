"""Freed memory stays with the process, so that the next step finds it."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

import pytest

from pipeline.runtime.torch_memory import SET_BY_USER, keep_freed_memory

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


def faults(first: str) -> int:
    """Page faults of 20 tensors of 64 MiB, each freed before the next."""
    environ = {name: value for name, value in os.environ.items() if name not in SET_BY_USER}
    program = [sys.executable, "-c", FAULTS_OF_LARGE_BLOCKS.format(first=first)]
    run = subprocess.run(program, env=environ, capture_output=True, text=True, check=True)
    return int(run.stdout)


def test_large_blocks_are_mapped_once() -> None:
    pages = 64 * 2**20 // resource.getpagesize()
    assert faults("import pipeline") < pages  # less than one block of the twenty
    assert faults("") > pages


@pytest.mark.parametrize("name", SET_BY_USER)
def test_what_the_user_set_stays(name: str) -> None:
    assert not keep_freed_memory({name: "1"})
