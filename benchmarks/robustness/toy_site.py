"""A workspace of the tests' toy stages on real services, for benchmarks that ask much of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from flows.services import stack
from flows.services.daemon import read_daemons
from pipeline import layout
from tests.faults.place import stage_images
from tests.faults.pool import migrated_template
from tests.flows.conftest import make_toy_workspace
from tests.support.label_studio_server import PERSON, own_label_studio


@contextmanager
def toy_site(folder: Path, *, images: int, query_size: int, seed: int) -> Iterator[Path]:
    """A workspace with so many images, all of which are asked for in time; its services end."""
    root = folder / "site"
    workspace = make_toy_workspace(root)
    workspace.write_params({"acquire": {"query_size": query_size}, "loop": {"budget": images}})
    workspace.commit([layout.PARAMS], "A campaign over all images")
    stage_images(root, seed=seed, pool=images)
    own_label_studio(root, migrated_template(folder))
    try:
        yield root
    finally:
        for _ in stack.down(root):
            pass


def start(root: Path, *, schedule_s: int) -> None:
    """All services, with a tick every so many seconds and at hooks."""
    for line in stack.up(root, schedule_s=schedule_s):
        print(line, flush=True)


def tool_of(root: Path) -> httpx.Client:
    """The running annotation tool, for people."""
    url = read_daemons(root)[stack.LABEL_STUDIO].url
    headers = {"Authorization": f"Token {PERSON.token}"}
    limits = httpx.Limits(max_connections=64)
    return httpx.Client(base_url=url, headers=headers, timeout=120, trust_env=False, limits=limits)
