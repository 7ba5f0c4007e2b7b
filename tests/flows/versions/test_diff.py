from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from flows.versions.diff import diff, in_words
from flows.workspace.dvc.dvc_cache import cache_of, outs_at
from flows.workspace.workspace import Workspace
from pipeline.errors import WorkspaceError
from tests.flows.conftest import CLASSES, SIZE, truth


def test_a_rounds_labels_pixel_by_pixel(shifted: Path) -> None:
    found = diff(Workspace(shifted), "day/r0", "day/r1")
    assert (found.images_new, found.images_gone, found.images_changed) == ((), (), ())
    assert [(change.kind, change.changed_pixels) for change in found.masks] == [
        ("new", SIZE[0] * SIZE[1])
    ] * 2
    painted = np.concatenate([truth(0).ravel(), truth(1).ravel()])
    assert found.pixels == {
        name: (0, int((painted == index).sum())) for index, name in enumerate(CLASSES)
    }
    assert found.params == {}
    assert found.metrics["labelled"] == (2, 4)
    assert found.metrics["teacher.day.val.miou"] == (2 / 12, 4 / 14)
    assert set(found.models) == {"models/baseline", "models/teacher"}
    assert json.loads(json.dumps(asdict(found)))["after"] == "day/r1"


def test_a_shift_brings_images_and_params(shifted: Path) -> None:
    found = diff(Workspace(shifted), "day/final", "dusk/ingest")
    assert len(found.images_new) == 5
    assert found.params["domain"] == ("day", "dusk")
    assert [change.split for change in found.masks] == ["val"]
    assert found.models == {}
    back = diff(Workspace(shifted), "dusk/ingest", "day/final")
    assert back.images_gone == found.images_new
    assert [change.kind for change in back.masks] == ["gone"]


def test_a_mask_painted_over_counts_what_became_what(shifted: Path) -> None:
    from PIL import Image

    from pipeline import layout
    from pipeline.files import sha256_file
    from pipeline.records.manifest import with_mask, write_manifest

    workspace = Workspace(shifted)
    samples = workspace.manifest()
    (place, sample) = next((i, s) for i, s in enumerate(samples) if s.labelled)
    path = shifted / sample.mask
    old_HW = np.asarray(Image.open(path))
    new_HW = np.where(np.arange(SIZE[1]) < 3, 2, old_HW).astype(np.uint8)
    Image.fromarray(new_HW).save(path)
    samples[place] = with_mask(
        sample, mask=sample.mask, sha256=sha256_file(path), split=sample.split
    )
    write_manifest(shifted / layout.MANIFEST, samples)
    workspace.dvc_add([layout.masks_dir("day")])
    workspace.commit([layout.MANIFEST, Path("data/day/masks.dvc")], "Painted over")
    workspace.tag("day/by-hand", "x")
    (change,) = diff(workspace, "dusk/r0", "day/by-hand").masks
    assert (change.kind, change.changed_pixels) == ("changed", int((old_HW != new_HW).sum()))
    assert change.pixels is not None
    assert change.pixels["sky"] == (int((old_HW == 2).sum()), int((new_HW == 2).sum()))


def test_words_for_people_and_what_is_not_there(shifted: Path) -> None:
    workspace = Workspace(shifted)
    assert in_words(diff(workspace, "day/r1", "day/final")).splitlines()[1] == "nothing changed"
    said = in_words(diff(workspace, "day/r0", "day/r1"))
    assert "masks new: 2 (day/img003, day/img004), 1536 pixels" in said
    with pytest.raises(WorkspaceError, match="near it: day/r"):
        diff(workspace, "day/r0", "day/r11")
    cache = cache_of(workspace)
    for out in outs_at(workspace.git, "day/r1"):
        if out.path == "data/day/masks":
            cache.object((cache.files(out) or {})["data/day/masks/img004.png"]).unlink()
    found = diff(workspace, "day/r0", "day/r1")
    assert [change.changed_pixels is None for change in found.masks] == [False, True]
    assert "1 not in DVC's cache" in in_words(found)
