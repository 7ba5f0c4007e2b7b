"""Where faults are played: one Label Studio, one proxy, and workspaces made once and copied."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from flows.loop import open_loop
from flows.tick import STEPS, Steps, tick
from pipeline import layout
from pipeline.files import sha256_file, write_json
from pipeline.records.manifest import Sample, write_manifest
from tests.faults.proxy import Proxy
from tests.faults.tool import Tool
from tests.flows.conftest import SIZE, make_toy_workspace
from tests.support.label_studio_server import PERSON
from tests.support.quick_dvc import quick_dvc

DOMAIN = "day"
ASKED = 3  # per round
ROUNDS = 2


class Stop(Exception):
    """Ends a tick between two of its steps, as a kill there would."""


def stops(at: Callable[[str], bool], *, after: bool) -> Steps:
    """The steps of a tick that stops at one of them, before or after it; `at` is asked by names
    such as "publish:day/r0", as the run page shows them."""

    def step(name_of: Callable[..., str], call: Callable[..., Any]) -> Callable[..., Any]:
        def stopping(*args: Any) -> Any:
            name = name_of(*args)
            if not after and at(name):
                raise Stop(name)
            result = call(*args)
            if after and at(name):
                raise Stop(name)
            return result

        return stopping

    return Steps(**{name: step(NAMES[name], getattr(STEPS, name)) for name in NAMES})


NAMES: dict[str, Callable[..., str]] = {
    "take_in": lambda loop, name: f"take-in:{name}",
    "take_more": lambda loop, more: f"take-more:{more.domain}",
    "reproduce_stage": lambda loop, here, stage: f"dvc:{stage}",
    "seal_round": lambda loop, here: f"seal:{here.tag}",
    "publish": lambda loop, here, query: f"publish:{here.tag}",
    "collect": lambda loop, here: f"collect:{here.tag}",
    "collect_late": lambda loop: "collect-late",
    "merge": lambda loop, here: f"merge:{here.labels_tag}",
    "finish": lambda loop, domain, last: f"finish:{domain}",
    "push": lambda loop, tags: f"push:{tags[-1]}",
}


@dataclass
class Place:
    """What all faults of one process share."""

    folder: Path
    tool: Tool
    proxy: Proxy
    workspaces: list[Path]
    """Two of them: folders of one name, images of one name, that show different things."""

    def copy(self, target: Path, which: int = 0) -> Path:
        """A workspace with a computed round and a query that was not sent yet."""
        shutil.copytree(self.workspaces[which], target, symlinks=True)
        return target


@contextmanager
def open_place(template: Path, folder: Path) -> Iterator[Place]:
    """Start the tool on a copy of a migrated folder, make the workspaces; end the tool."""
    os.environ["LABEL_STUDIO_API_KEY"] = PERSON.token
    tool = Tool(template, folder / "tool")
    proxy = Proxy(tool.url)
    try:
        roots = [folder / str(number) / "site" for number in (1, 2)]
        for number, root in enumerate(roots):
            make_workspace(root, proxy.url, seed=number)
        yield Place(folder, tool, proxy, roots)
    finally:
        proxy.shutdown()
        tool.kill()


def make_workspace(
    root: Path, url: str, *, seed: int, asked: int = ASKED, rounds: int = ROUNDS
) -> None:
    """A workspace of toy stages whose first round is computed; nothing has been sent."""
    root.parent.mkdir(parents=True)
    with quick_dvc():
        workspace = make_toy_workspace(root)
    settings = {"annotation": {"url": url}, "loop": {"budget": asked * rounds}}
    workspace.write_params(settings | {"acquire": {"query_size": asked}})
    workspace.commit([layout.PARAMS], "Where people answer")
    stage_images(root, seed, pool=max(8, asked))
    tick_until(root, lambda name: name.startswith("publish:"), after=False)


def tick_until(root: Path, at: Callable[[str], bool], *, after: bool) -> str:
    """What the tick said; "" when it was stopped at the step."""
    with quick_dvc(), open_loop(root, log=lambda line: None) as loop:
        try:
            return tick(loop, stops(at, after=after))
        except Stop:
            return ""


def stage_images(root: Path, seed: int, name: str = DOMAIN, pool: int = 8, val: int = 1) -> None:
    """As `domain add` would: images of the same names for every seed, showing something else."""
    folder = root / layout.INCOMING / name
    rng = np.random.default_rng([seed, *name.encode()])
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    samples = []
    for index, split in enumerate(["pool"] * pool + ["val"] * val):
        stem = f"img{index:03d}"
        image, mask = folder / f"images/{stem}.png", folder / f"masks/{stem}.png"
        Image.fromarray(rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8)).save(image)
        given = split == "val"
        if given:
            Image.fromarray(rng.integers(0, 3, SIZE, dtype=np.uint8)).save(mask)
        samples.append(
            Sample(
                sample_id=f"{name}/{stem}",
                domain=name,
                split=split,  # type: ignore[arg-type]
                image=f"data/{name}/images/{stem}.png",
                image_sha256=sha256_file(image),
                mask=f"data/{name}/masks/{stem}.png" if given else "",
                mask_sha256=sha256_file(mask) if given else "",
                origin="ground_truth" if given else "",
            )
        )
    write_json(folder / "domain.json", {})
    write_manifest(folder / "samples.csv", samples)
