"""Faults that a hand makes in images, masks, models and other files that git and DVC keep."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from flows.workspace.dvc.dvc_cache import cache_of, outs_at
from flows.workspace.workspace import Workspace
from pipeline import layout
from pipeline.data.formats.images import save_mask
from pipeline.files import sha256_file, write_json
from tests.flows.conftest import CLASSES
from tests.flows.verify.campaign_copy import Place


def pixel_changed(place: Place) -> None:
    _paint(place.root / place.annotated()[0]["mask"])


def pixel_changed_with_every_hash(place: Place) -> None:
    """Only reading the person's own answer again tells."""
    row = place.annotated()[0]
    _paint(place.root / row["mask"])
    digest = sha256_file(place.root / row["mask"])
    place.sql(
        "UPDATE annotation SET mask_sha256 = ? WHERE mask_sha256 = ?", digest, row["mask_sha256"]
    )
    for path in place.records():
        text = path.read_text().replace(row["mask_sha256"], digest)
        path.write_text(text)
    place.edit_manifest(row["sample_id"], mask_sha256=digest)
    for name in (row["mask_sha256"], digest):
        (place.root / layout.INBOX / f"{name}.png").unlink(missing_ok=True)
    place.commit()


def _paint(path: Path) -> None:
    with Image.open(path) as png:
        mask_HW = np.array(png)
    mask_HW[0, 0] = (mask_HW[0, 0] + 1) % len(CLASSES)
    save_mask(path, mask_HW)


def masks_swapped(place: Place) -> None:
    one, other = place.annotated()
    place.edit_manifest(one["sample_id"], mask_sha256=other["mask_sha256"])
    place.edit_manifest(other["sample_id"], mask_sha256=one["mask_sha256"])
    place.commit()


def mask_lost(place: Place) -> None:
    one, _ = place.annotated()
    place.edit_manifest(one["sample_id"], mask="", mask_sha256="", origin="")
    place.commit()


def mask_of_nobody(place: Place) -> None:
    one, _ = place.annotated()
    mask = {"mask": one["mask"], "mask_sha256": one["mask_sha256"], "origin": "annotated"}
    place.edit_manifest("dusk/img001", **mask)
    place.commit()


def stray_mask(place: Place) -> None:
    _paint(_copy(place.root / place.annotated()[0]["mask"], "stray.png"))


def _copy(path: Path, name: str) -> Path:
    target = path.with_name(name)
    target.write_bytes(path.read_bytes())
    return target


def image_changed(place: Place) -> None:
    with (place.root / "data/day/images/img005.png").open("ab") as file:
        file.write(b"!")


def image_lost(place: Place) -> None:
    (place.root / "data/dusk/images/img000.png").unlink()


def sample_twice(place: Place) -> None:
    path = place.root / layout.MANIFEST
    path.write_text(path.read_text() + path.read_text().splitlines()[-1] + "\n")
    place.commit()


def judge_teaches(place: Place) -> None:
    place.edit_manifest("day/img008", split="pool")
    place.commit()


def query_edited_at_a_tag(place: Place) -> None:
    query = place.root / layout.QUERY
    query.write_text(query.read_text().replace("toy", "mine"))
    place.commit("dusk/r0")


def params_edited_at_a_tag(place: Place) -> None:
    params = place.root / layout.PARAMS
    params.write_text(params.read_text().replace("query_size: 3", "query_size: 4"))
    place.commit("dusk/r0")


def metrics_edited(place: Place) -> None:
    write_json(place.root / layout.EVALUATION, {})


def model_with_more(place: Place) -> None:
    (place.root / layout.TEACHER / "extra.bin").write_bytes(b"?")


def weights_changed(place: Place) -> None:
    (place.root / layout.TEACHER / "model.safetensors").write_text("other weights")


def _object(place: Place, path: str) -> Path:
    workspace = Workspace(place.root)
    cache = cache_of(workspace)
    outs = outs_at(workspace.git, "day/r1")
    return next(cache.object(f[path]) for out in outs if path in (f := cache.files(out) or {}))


def object_collected(place: Place) -> None:
    _object(place, "models/teacher/model.safetensors").unlink()


def object_spoilt(place: Place) -> None:
    path = _object(place, "models/teacher/model.safetensors")
    path.chmod(0o644)
    path.write_text("other weights")


def mask_committed_by_hand(place: Place) -> None:
    place.edit_manifest(place.annotated()[0]["sample_id"], mask_sha256="0" * 64)
    place.commit()
