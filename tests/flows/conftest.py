from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from db.session import open_ledger
from flows.loop import Loop
from flows.tick import tick
from flows.workspace.create import create_workspace
from flows.workspace.workspace import Workspace
from pipeline import layout
from pipeline.files import sha256_file, write_json
from pipeline.records.manifest import Sample, write_manifest
from tests.support.fake_annotator import FakeAnnotator
from tests.support.quick_dvc import quick_dvc

CLASSES = ("road", "car", "sky")
SIZE = (24, 32)
TOY = Path(__file__).with_name("toy_stages.py")


def stage_domain(root: Path, name: str, *, labelled: int = 0, pool: int = 6, val: int = 0) -> None:
    """Put a domain where `domain add` would, without its checks."""
    folder = root / layout.INCOMING / name
    rng = np.random.default_rng(sum(name.encode()))
    samples = []
    splits = ["pool"] * (labelled + pool) + ["val"] * val
    for index, split in enumerate(splits):
        stem = f"img{index:03d}"
        image = folder / "images" / f"{stem}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8)).save(image)
        has_mask = index < labelled or split == "val"
        mask = folder / "masks" / f"{stem}.png"
        if has_mask:
            mask.parent.mkdir(exist_ok=True)
            Image.fromarray(rng.integers(0, 3, SIZE, dtype=np.uint8)).save(mask)
        samples.append(
            Sample(
                sample_id=f"{name}/{stem}",
                domain=name,
                split=split,  # type: ignore[arg-type]
                image=f"data/{name}/images/{stem}.png",
                image_sha256=sha256_file(image),
                mask=f"data/{name}/masks/{stem}.png" if has_mask else "",
                mask_sha256=sha256_file(mask) if has_mask else "",
                origin="ground_truth" if has_mask else "",
            )
        )
    write_json(folder / "domain.json", {})
    write_manifest(folder / "samples.csv", samples)


def make_toy_workspace(root: Path) -> Workspace:
    """A workspace whose stages take milliseconds; queries of 3, budget 6."""
    workspace = create_workspace(
        root,
        class_names=CLASSES,
        overrides={"acquire": {"query_size": 3}, "loop": {"budget": 6}},
    )
    dvc_yaml = root / layout.DVC_YAML
    command = f"{sys.executable} {TOY}"
    dvc_yaml.write_text(dvc_yaml.read_text().replace("python -m pipeline", command))
    workspace.commit([layout.DVC_YAML], "Toy stages")
    return workspace


@pytest.fixture(scope="module", autouse=True)
def dvc_in_process() -> Iterator[None]:
    """DVC without its start, but in folders that test how it is spoken to: these override it."""
    with quick_dvc():
        yield


@pytest.fixture(scope="session")
def blank_toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once; tests work on copies, since git and DVC take a second to set up."""
    root = tmp_path_factory.mktemp("toy") / "workspace"
    with quick_dvc():
        make_toy_workspace(root)
    return root


@pytest.fixture
def toy(blank_toy: Path, tmp_path: Path) -> Path:
    root = tmp_path / "workspace"
    shutil.copytree(blank_toy, root, symlinks=True)
    return root


@pytest.fixture(scope="session")
def asked_toy(blank_toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a workspace whose day/r0 waits for three answers, and its tool.json."""
    base = tmp_path_factory.mktemp("asked")
    shutil.copytree(blank_toy, base / "workspace", symlinks=True)
    stage_domain(base / "workspace", "day", labelled=2, pool=8, val=1)
    loop = Loop(
        workspace=Workspace(base / "workspace"),
        ledger=open_ledger(base / "workspace" / layout.LEDGER),
        log=lambda line: None,
        annotator_factory=lambda *_: FakeAnnotator(base / "tool.json", CLASSES),
    )
    with quick_dvc():
        assert tick(loop) == "waiting 0/3: 3 open (day/r0)"
    loop.ledger.close()
    return base


@pytest.fixture
def asked(asked_toy: Path, tmp_path: Path) -> Path:
    """A copy of that workspace; the tool's file is where `people` look for it."""
    shutil.copytree(asked_toy, tmp_path, dirs_exist_ok=True, symlinks=True)
    return tmp_path / "workspace"


@dataclass(frozen=True)
class Campaign:
    """day/r0, day/r1 = day/final, dusk/r0 which waits for people; made once, tests take copies."""

    base: Path
    day_r1: dict[str, str]  # path -> SHA-256 of all data, models and predictions, as they were

    def copy(self, target: Path) -> Path:
        """The workspace's copy; the tool's is beside it."""
        shutil.copytree(self.base, target, dirs_exist_ok=True, symlinks=True)
        return target / "workspace"


def hashes(root: Path, *folders: str) -> dict[str, str]:
    files = [path for folder in folders for path in (root / folder).rglob("*") if path.is_file()]
    files.append(root / layout.PARAMS)
    return {path.relative_to(root).as_posix(): sha256_file(path) for path in sorted(files)}


@pytest.fixture(scope="session")
def campaign(blank_toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    with quick_dvc():
        return _play_campaign(blank_toy, tmp_path_factory.mktemp("campaign"))


def _play_campaign(blank_toy: Path, base: Path) -> Campaign:
    root, people = base / "workspace", FakeAnnotator(base / "tool.json", CLASSES)
    shutil.copytree(blank_toy, root, symlinks=True)
    Workspace(root).write_params({"loop": {"budget": 3}})
    stage_domain(root, "day", labelled=2, pool=6, val=1)
    loop = Loop(
        workspace=Workspace(root),
        ledger=open_ledger(root / layout.LEDGER),
        log=lambda line: None,
        annotator_factory=lambda *_: people,
    )
    assert tick(loop).startswith("waiting")
    skipped, *answered = people.open_items()
    people.skip(skipped)
    for seed, item_id in enumerate(answered):
        people.answer(item_id, truth(seed))
    assert tick(loop).startswith("finished day")
    day_r1 = hashes(root, "data", "models", "predictions")
    stage_domain(root, "dusk", pool=4, val=1)
    assert tick(loop) == "waiting 0/3: 3 open (dusk/r0)"
    loop.ledger.close()
    return Campaign(base, day_r1)


@pytest.fixture
def shifted(campaign: Campaign, tmp_path: Path) -> Path:
    """A copy of the campaign's workspace."""
    return campaign.copy(tmp_path / "campaign")


@pytest.fixture
def people(tmp_path: Path) -> FakeAnnotator:
    return FakeAnnotator(tmp_path / "tool.json", CLASSES)


@pytest.fixture
def open_toy(people: FakeAnnotator) -> Iterator[Callable[[Path], Loop]]:
    opened: list[Loop] = []

    def open_one(root: Path) -> Loop:
        loop = Loop(
            workspace=Workspace(root),
            ledger=open_ledger(root / layout.LEDGER),
            log=lambda line: None,
            annotator_factory=lambda *_: people,
        )
        opened.append(loop)
        return loop

    yield open_one
    for loop in opened:
        loop.ledger.close()


def truth(seed: int) -> np.ndarray:
    """A mask with all classes."""
    return np.random.default_rng(seed).integers(0, 3, SIZE, dtype=np.uint8)
