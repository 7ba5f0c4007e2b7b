"""benchmarks/robustness/load.py made small: many people while ticks run, on both ledgers."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from flows.services import stack
from tests.faults.checker import manifest_at, read_mask
from tests.faults.crowd import Crowd
from tests.faults.people import pixels, truth
from tests.faults.place import Place, make_workspace
from tests.faults.scene import Scene, labels_tag
from tests.support.ledgers import BACKENDS, new_target

pytestmark = [pytest.mark.services, pytest.mark.timeout(600)]
MASKS, PEOPLE = 48, 16


@pytest.fixture(params=BACKENDS)
def scene(
    request: pytest.FixtureRequest,
    place: Place,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Scene:
    """One query of all images, in a workspace whose ledger is of that kind."""
    if request.param == "postgresql":
        url = new_target("postgresql", tmp_path)
        monkeypatch.setenv(stack.LEDGER_VARIABLE, url)
    root = tmp_path / "big" / "site"
    make_workspace(root, place.proxy.url, seed=9, asked=MASKS, rounds=1)
    return Scene.of(place, root, seed=0)


def test_many_people_at_once_while_ticks_run(scene: Scene) -> None:
    scene.publish()
    (project_id,) = scene.people.projects()
    listed = scene.tool.get("/api/tasks", project=project_id, page_size=MASKS)["tasks"]
    crowd = Crowd(scene.tool.client, PEOPLE)
    answering = threading.Thread(target=crowd.answer, args=[listed])
    answering.start()
    while answering.is_alive():
        scene.tick()
    scene.settle()
    assert not scene.stuck
    assert scene.tracebacks == []
    assert recorded(scene) == sorted(crowd.answered)
    for row in manifest_at(scene.root, labels_tag(0)):
        seen = pixels(scene.root / row["image"])
        if row["split"] == "pool":
            assert (read_mask(scene.root / row["mask"]) == truth(seen, 0)).all(), row["sample_id"]
    scene.tool.delete(f"/api/projects/{project_id}/")


def recorded(scene: Scene) -> list[int]:
    """Ids of annotations, as often as the ledger has them."""
    url = stack.ledger_url(scene.root).replace("postgresql://", "postgresql+psycopg://")
    engine = create_engine(url)
    with engine.connect() as connection:
        rows = list(connection.execute(text("SELECT tool_annotation_id FROM annotation")))
    engine.dispose()
    return sorted(row[0] for row in rows)
