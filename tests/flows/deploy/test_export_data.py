"""Data of a tag, from git and DVC's cache alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from flows.cli import main
from flows.deploy.export_data import export_data
from flows.workspace.workspace import Workspace
from pipeline.data.formats.images import load_mask
from pipeline.errors import WorkspaceError
from pipeline.files import sha256_file
from tests.flows.conftest import hashes


def test_what_a_tag_saw(shifted: Path, tmp_path: Path) -> None:
    workspace, before = Workspace(shifted), hashes(shifted, "data", "models")
    masked = {}
    for tag in ("day/r0", "day/r0-labels"):
        found = export_data(shifted, tag, tmp_path / tag, name="index-png", domain="day")
        samples = [s for s in workspace.manifest_at(tag) if s.domain == "day"]
        masked[tag] = [s for s in samples if s.mask]
        assert sum(found.images.values()) == len(samples)
        for sample in samples:
            stem = sample.sample_id.partition("/")[2]
            image = tmp_path / tag / "images" / f"{stem}{Path(sample.image).suffix}"
            assert sha256_file(image) == sample.image_sha256
            mask = tmp_path / tag / f"masks/{stem}.png"
            assert mask.exists() == bool(sample.mask)
            if sample.mask:
                assert sha256_file(mask) == sample.mask_sha256
                load_mask(mask, 3)
    assert len(masked["day/r0-labels"]) == len(masked["day/r0"]) + 2
    assert hashes(shifted, "data", "models") == before
    assert workspace.git.run("status", "--porcelain") == b""


def test_all_domains_by_command(shifted: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["export-data", "dusk/r0", "--format", "pascal-voc", "--out", str(out), "--json"]
    done = CliRunner().invoke(main, [*arguments, "-w", str(shifted)])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["lossless"] is True
    names = {path.stem for path in (out / "JPEGImages").iterdir()}
    assert {"day_img000", "dusk_img000"} <= names
    assert len(names) == sum(found["images"].values())
    with Image.open(next((out / "SegmentationClass").iterdir())) as mask:
        assert set(np.unique(np.asarray(mask))) <= {0, 1, 2, 255}
    said = CliRunner().invoke(main, [*arguments[:-1], "-w", str(shifted)])
    assert said.exit_code == 1
    assert "not empty" in said.output


@pytest.mark.parametrize(
    ("tag", "domain", "said"),
    [("day/r8", None, "near it"), ("day/r0", "night", "night: no domain at day/r0; known: day")],
)
def test_what_is_not_there_is_named(
    shifted: Path, tmp_path: Path, tag: str, domain: str | None, said: str
) -> None:
    with pytest.raises(WorkspaceError, match=said):
        export_data(shifted, tag, tmp_path / "out", name="coco", domain=domain)
    assert not (tmp_path / "out").exists()
