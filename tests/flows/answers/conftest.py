from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from db.session import session_scope
from flows.loop import Loop
from flows.rounds.round_progress import QueryProgress
from flows.steps.collect import collect
from pipeline import layout
from tests.flows.conftest import truth
from tests.support.fake_annotator import FakeAnnotator


@dataclass(frozen=True, kw_only=True)
class Desk:
    """A workspace that waits for answers, the tool, and what the loop said."""

    loop: Loop
    people: FakeAnnotator
    items: list[str]
    said: list[str]

    @property
    def project_id(self) -> int:
        """The one project of the current domain."""
        return self.loop.project("day").project_id

    def look(self) -> QueryProgress:
        """One look of the loop at the tool, without a tick around it."""
        return collect(self.loop, self.loop.require_position())

    def mask(self, item_id: str) -> np.ndarray:
        """What lies in the data for an item's image."""
        stem = Path(item_id).parent.name
        with Image.open(self.loop.root / "data/day/masks" / f"{stem}.png") as png:
            return np.asarray(png)

    def counting(self) -> dict[str, str]:
        """Item -> hash of the mask that counts."""
        from db.repository import accepted_items

        with session_scope(self.loop.ledger, read_only=True) as session:
            return {name: str(row.mask_sha256) for name, row in accepted_items(session).items()}

    def verdicts(self, item_id: str) -> list[str]:
        """Of all versions of answers to an item, in the order of their coming."""
        from db.repository import annotation_versions

        with session_scope(self.loop.ledger, read_only=True) as session:
            rows = annotation_versions(session)
        return [row.verdict.value for row in rows if row.item_id == item_id]

    def kept(self, item_id: str) -> np.ndarray:
        """The mask that counts, as it lies in the inbox."""
        digest = self.counting()[item_id]
        with Image.open(self.loop.root / layout.INBOX / f"{digest}.png") as png:
            return np.asarray(png)


@pytest.fixture
def desk(asked: Path, open_toy: Callable[[Path], Loop], people: FakeAnnotator) -> Desk:
    loop, said = open_toy(asked), []
    loop.log = said.append
    return Desk(loop=loop, people=people, items=people.open_items(), said=said)


def same(found: np.ndarray, seed: int) -> bool:
    """Whether a mask is the one that people painted from this seed."""
    return bool(np.array_equal(found, truth(seed)))
