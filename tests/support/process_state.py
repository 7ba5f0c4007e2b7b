"""What a file of tests may not leave changed in its process: the next file would compute otherwise.

Tests of a file share their process with all other files of the run, in an order that no one knows.
One that had left torch with another number of threads changed the last bits of every later sum.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

OF_PYTEST = "PYTEST_CURRENT_TEST"  # pytest says in it which test and phase runs
# Added variables count where our programs read them: libraries leave their own when first imported.
READ_BY_US = (
    "$SSL_LOOP_",
    "$PREFECT_",
    "$LABEL_STUDIO_",
    "$GIT_",
    "$DVC_",
    "$OMP_",
    "$GOMP_",
    "$XDG_",
)


def process_state() -> dict[str, Any]:
    """Names and values; torch's only where something has imported it."""
    environ = {f"${name}": value for name, value in os.environ.items() if name != OF_PYTEST}
    state: dict[str, Any] = {"working directory": str(Path.cwd()), **environ}
    torch = sys.modules.get("torch")
    if torch is not None:
        state["torch.get_num_threads()"] = torch.get_num_threads()
        state["torch.get_default_dtype()"] = torch.get_default_dtype()
        state["torch.is_grad_enabled()"] = torch.is_grad_enabled()
        state["torch's deterministic algorithms"] = torch.are_deterministic_algorithms_enabled()
    return state


@pytest.fixture(autouse=True, scope="module")
def leaves_the_process_as_it_was() -> Iterator[None]:
    """The file fails, at its last test, where it leaves a part of the state changed."""
    before = process_state()
    yield
    after = process_state()
    changed = [
        f"{name}: {before.get(name)!r} before, {after.get(name)!r} after"
        for name in {**before, **after}
        if before.get(name) != after.get(name) and (name in before or name.startswith(READ_BY_US))
    ]
    if changed:
        pytest.fail("this file of tests leaves its process changed:\n" + "\n".join(changed))
