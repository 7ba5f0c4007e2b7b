"""Every invariant broken on purpose, in a workspace where all is well: the checker names it."""

from __future__ import annotations

import copy
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.faults.answers import plain
from tests.faults.checker import Findings, check
from tests.faults.driver import Outcome, clean_up
from tests.faults.people import People
from tests.faults.place import Place
from tests.faults.scene import Scene, labels_tag
from tests.faults.verified import verified

pytestmark = pytest.mark.services
MASKS = "data/day/masks"


@pytest.fixture(scope="module")
def finished(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    scene = Scene.begin(place, tmp_path_factory.mktemp("finished"), seed=0)
    plain(scene)
    yield scene
    clean_up(scene)


@pytest.fixture
def broken(finished: Scene, tmp_path: Path) -> Scene:
    """A copy to break."""
    one = copy.copy(finished)
    one.root = Path(shutil.copytree(finished.root, tmp_path / "site", symlinks=True))
    one.people = People(finished.tool, copy.deepcopy(finished.people.book))
    return one


def sql(scene: Scene, script: str) -> None:
    with closing(sqlite3.connect(scene.root / ".ssl-loop/ledger.db")) as database:
        database.executescript(f"PRAGMA foreign_keys = OFF; {script}")


def answered(scene: Scene) -> list[Path]:
    return sorted((scene.root / MASKS).glob("*.png"))[:2]


def swap_masks(scene: Scene) -> None:
    one, two = answered(scene)
    content = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(content)


def swap_answers(scene: Scene) -> None:
    items = "SELECT {}(item_id) FROM annotation"
    sql(
        scene,
        f"UPDATE annotation SET item_id = ({items.format('max')}) "
        f"WHERE item_id = ({items.format('min')})",
    )


def drop_answer(scene: Scene) -> None:
    sql(scene, "DELETE FROM annotation WHERE id = (SELECT max(id) FROM annotation)")


def drop_mask(scene: Scene) -> None:
    answered(scene)[0].unlink()


def double_answer(scene: Scene) -> None:
    sql(
        scene,
        "CREATE TABLE copied AS SELECT * FROM annotation; DROP TABLE annotation; "
        "ALTER TABLE copied RENAME TO annotation; "
        "INSERT INTO annotation SELECT * FROM annotation LIMIT 1",
    )


def double_row(scene: Scene) -> None:
    manifest = scene.root / "data/manifest.csv"
    lines = manifest.read_text().splitlines(keepends=True)
    manifest.write_text("".join([*lines, lines[1]]))
    scene.git("commit", "--quiet", "-am", "One image twice")
    scene.git("tag", "--force", labels_tag(0))


def change_pixel(scene: Scene) -> None:
    file = answered(scene)[0]
    with Image.open(file) as png:
        mask_HW = np.array(png)
    mask_HW[0, 0] = (mask_HW[0, 0] + 1) % 3
    Image.fromarray(mask_HW).save(file)


def keep_withdrawn(scene: Scene) -> None:
    scene.people.book[0].withdrawn = True  # of which the loop took no notice


def older_counts(scene: Scene) -> None:
    scene.people.book[0].variant = 1


def invent_answer(scene: Scene) -> None:
    scene.people.book.pop()


def delete_in_tool(scene: Scene) -> None:
    scene.people.book[0].annotation_id = 10**8


def test_a_workspace_where_all_is_well_has_no_finding(broken: Scene) -> None:
    assert not verdict(broken)
    assert verified(broken, frozenset()) == []


@pytest.mark.parametrize(
    ("breaks", "invariant"),
    [
        (swap_masks, "mixed_up"),
        (swap_answers, "mixed_up"),
        (invent_answer, "mixed_up"),
        (drop_answer, "lost"),
        (drop_mask, "lost"),
        (double_answer, "doubled"),
        (double_row, "doubled"),
        (change_pixel, "changed"),
        (keep_withdrawn, "changed"),
        (older_counts, "changed"),
        (delete_in_tool, "destroyed"),
    ],
)
def test_what_is_broken_is_named(
    breaks: Callable[[Scene], None], invariant: str, broken: Scene
) -> None:
    breaks(broken)
    assert getattr(verdict(broken), invariant)


def lose_record(scene: Scene) -> None:
    next((scene.root / "data/day/annotations").rglob("*-accepted.json")).unlink()


def commit_by_hand(scene: Scene) -> None:
    row = scene.root / "data/classes.csv"
    row.write_text(row.read_text() + "\n")
    scene.git("commit", "--quiet", "-am", "By hand")


@pytest.mark.parametrize(
    ("breaks", "invariant"), [(lose_record, "records"), (commit_by_hand, "commits")]
)
def test_what_verify_names_is_counted_unless_the_kind_expects_it(
    breaks: Callable[[Scene], None], invariant: str, broken: Scene
) -> None:
    breaks(broken)
    found = verified(broken, frozenset())
    named = {one.partition(":")[0] for one in found}
    assert invariant in named
    assert not Outcome("kind", 0, verify=found).held
    assert verified(broken, frozenset(named)) == []
    assert {one.partition(":")[0] for one in verified(broken, named - {invariant})} == {invariant}


def verdict(scene: Scene) -> Findings:
    return check(scene.root, scene.people, labels_tag(0))
