"""Names of classes are versioned with the masks: only appended ones are another meaning of none."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import layout
from pipeline.config.params import parse_params
from pipeline.data.formats import read_classes
from pipeline.data.painted_classes import require_painted, require_same, write_classes
from pipeline.errors import ConfigError
from pipeline.records.manifest import Sample, write_manifest
from tests.pipeline.data.folders import CLASSES, Folder, ingest

PAINTED = ("sky", "road", "car")
CHANGED = {
    "swapped": (("sky", "car", "road"), "road was 1 and is 2; car was 2 and is 1"),
    "inserted": (("sky", "tree", "road", "car"), "tree was inserted before road"),
    "removed": (("sky", "car"), "road was removed"),
    "removed at the end": (("sky", "road"), "car was removed"),
    "renamed": (("sky", "street", "car"), "road became street"),
    "other case": (("sky", "Road", "car"), "road became Road"),
    "renamed and appended": (("sky", "road", "bus", "car"), "bus was inserted before car"),
}


@pytest.mark.parametrize(("now", "words"), CHANGED.values(), ids=CHANGED)
def test_what_changed_is_named_with_the_order_to_put_back(now: tuple[str, ...], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        require_same(PAINTED, now)
    assert words in str(caught.value)
    assert "Put them back, in this order: [sky, road, car]" in str(caught.value)


def test_appended_classes_are_fine() -> None:
    require_same(PAINTED, PAINTED)
    require_same(PAINTED, (*PAINTED, "tree", "bus"))


def test_names_come_back_as_they_were(tmp_path: Path) -> None:
    names = ('a, "b"', "caf\u00e9", "255", "index", "#x")
    write_classes(tmp_path / "classes.csv", names)
    assert read_classes(tmp_path / "classes.csv") == names


def painted(root: Path, mask: str) -> None:
    write_classes(root / layout.CLASSES, PAINTED)
    sample = Sample(
        sample_id="day/a", domain="day", split="pool", image="a.png", image_sha256="0", mask=mask
    )
    write_manifest(root / layout.MANIFEST, [sample])


def test_names_are_free_until_something_is_painted(tmp_path: Path) -> None:
    params = parse_params({"classes": ["sky", "car", "road"]})
    require_painted(tmp_path, params)
    painted(tmp_path, "")
    require_painted(tmp_path, params)
    painted(tmp_path, "a_mask.png")
    with pytest.raises(ConfigError, match="road was 1 and is 2"):
        require_painted(tmp_path, params)


@pytest.mark.programs
def test_a_stage_refuses_without_git(tmp_path: Path) -> None:
    painted(tmp_path, "a_mask.png")
    (tmp_path / "params.yaml").write_text("classes: [sky, car, road]\n")
    command = [sys.executable, "-m", "pipeline", "acquire", "--root", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("acquire: params.yaml: classes changed since masks were painted")


def test_a_domain_that_waits_knows_the_names_it_was_checked_with(folder: Folder) -> None:
    folder.image("a.png")
    folder.mask("a.png")
    ingest(folder)
    assert read_classes(folder.destination / "day" / "classes.csv") == CLASSES
