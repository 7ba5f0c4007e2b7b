"""A workspace with a known domain, and a watched folder beside it: red pictures are dusk."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from db.repository import events
from db.session import session_scope
from flows.loop import Loop
from flows.watch import alarm
from flows.watch.log import WatchLog
from flows.watch.watcher import Watcher
from pipeline import layout
from pipeline.data.formats.images import load_image
from pipeline.files import sha256_file
from pipeline.records.manifest import Sample, read_manifest, write_manifest
from pipeline.stages import embed as embed_stage

NUM_KNOWN = 40
DAY, DUSK = 0, 80  # how much redder


def draw(path: Path, number: int, redder: int = DAY) -> Path:
    """A sharp picture; every number another."""
    rng = np.random.default_rng(number)
    pixels_HWC = rng.integers(0, 120, (24, 32, 3), dtype=np.uint8)
    pixels_HWC[:, :16] += rng.integers(0, 30, 3, dtype=np.uint8)
    pixels_HWC[..., 0] += redder
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels_HWC).save(path)
    return path


def colours(file: Path) -> np.ndarray:
    """Stands for the encoder: mean colours of the two halves."""
    image_HWC = load_image(file).astype(np.float32) / 255
    halves = [image_HWC[:, :16].mean((0, 1)), image_HWC[:, 16:].mean((0, 1))]
    return np.concatenate(halves)


@dataclass
class Place:
    """A workspace with a known domain, and a folder beside it."""

    loop: Loop
    folder: Path
    lines: list[str] = field(default_factory=list)

    def drop(self, numbers: range, redder: int = DAY) -> None:
        for number in numbers:
            draw(self.folder / f"new{number:04d}.png", number, redder)

    def watcher(self, ahead_s: float = 30.0, **options: Any) -> Watcher:
        """As if `ahead_s` had gone by since the files were dropped."""
        return Watcher(
            loop=self.loop,
            folder=self.folder,
            clock=lambda: time.time() + ahead_s,
            **options,
        )

    @property
    def log(self) -> WatchLog:
        return WatchLog.of(self.loop.root, self.folder)

    def scored(self) -> list[tuple[str, list[float]]]:
        return [(line["name"], line["p"]) for line in self.log.images]

    def noticed(self) -> list[str]:
        with session_scope(self.loop.ledger, read_only=True) as session:
            return [event.subject for event in events(session, alarm.NOTICED)]


@pytest.fixture
def place(
    toy: Path,
    open_toy: Callable[[Path], Loop],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Place:
    monkeypatch.setattr(embed_stage, "file_embedder", lambda params: colours)
    write_manifest(toy / layout.MANIFEST, known_images(toy, "day", 10_000))
    write_embeddings(toy, "day")
    loop = open_toy(toy)
    loop.workspace.write_params(
        {"domain": "day", "domains": {"day": {}}, "watch": {"false_alarm_every": 1000, "window": 1}}
    )
    found = Place(loop, tmp_path / "drop")
    found.folder.mkdir()
    loop.log = found.lines.append
    return found


def known_images(root: Path, domain: str, first: int, redder: int = DAY) -> list[Sample]:
    """Pool images of a domain, numbered from `first`."""
    samples = []
    for number in range(NUM_KNOWN):
        image = draw(root / f"data/{domain}/images/x{number:02d}k.png", first + number, redder)
        samples.append(
            Sample(
                sample_id=f"{domain}/{image.stem}",
                domain=domain,
                split="pool",
                image=image.relative_to(root).as_posix(),
                image_sha256=sha256_file(image),
            )
        )
    return samples


def write_embeddings(root: Path, domain: str, scale_widths: Sequence[int] = (6,)) -> None:
    samples = [s for s in read_manifest(root / layout.MANIFEST) if s.domain == domain]
    path = root / layout.EMBEDDINGS / f"{domain}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        path,
        sample_ids=np.array([s.sample_id for s in samples]),
        embeddings_ND=np.stack([colours(root / s.image) for s in samples]),
        **({"scale_widths": np.array(scale_widths)} if scale_widths else {}),
    )
