"""Images that were left out come in again when a person says so, and stay in."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from flows.domains.add import MAX_DOMAIN_NAME, add_domain, check_new_domain, let_in
from flows.domains.incoming import waiting
from flows.loop import Loop
from flows.tick import tick
from flows.workspace.workspace import Workspace, WorkspaceBusyError
from pipeline import layout
from pipeline.errors import ConfigError, DataError
from pipeline.records.manifest import read_manifest, write_manifest
from tests.flows.conftest import stage_domain, truth
from tests.support.fake_annotator import FakeAnnotator

Open = Callable[[Path], Loop]


def stage_with_junk(root: Path, name: str, *, pool: int, junk: int) -> None:
    """The last images of the pool are left out."""
    stage_domain(root, name, labelled=2, pool=pool, val=2)
    path = root / layout.INCOMING / name / "samples.csv"
    samples = read_manifest(path)
    out = [s.sample_id for s in samples if s.unlabelled][-junk:]
    write_manifest(
        path,
        [replace(s, left_out="blurred, by far" if s.sample_id in out else "") for s in samples],
    )


def left_out(path: Path) -> list[str]:
    return [sample.sample_id for sample in read_manifest(path) if sample.left_out]


def test_what_is_let_in_while_people_answer_is_asked_for_next(
    toy: Path, open_toy: Open, people: FakeAnnotator
) -> None:
    stage_with_junk(toy, "day", pool=8, junk=5)
    loop = open_toy(toy)
    assert tick(loop) == "waiting 0/3: 3 open (day/r0)"
    asked = {item.split("/")[1] for item in people.open_items()}
    assert asked == {"img002", "img003", "img004"}
    assert let_in(toy, "day", ["img005", "day/img006"]) == ["day/img005", "day/img006"]
    for seed, item_id in enumerate(people.open_items()):
        people.answer(item_id, truth(seed))
    assert tick(loop) == "waiting 0/2: 2 open (day/r1)"
    assert {item.split("/")[1] for item in people.open_items()} == {"img005", "img006"}
    assert left_out(toy / layout.MANIFEST) == ["day/img007", "day/img008", "day/img009"]
    assert let_in(toy, "day") == ["day/img007", "day/img008", "day/img009"]
    assert Workspace(toy).git.run("status", "--porcelain", "--untracked-files=no") == b""


def test_images_of_a_waiting_domain_are_let_in_and_it_keeps_its_turn(toy: Path) -> None:
    stage_with_junk(toy, "night", pool=4, junk=2)
    stage_with_junk(toy, "day", pool=4, junk=2)
    head = Workspace(toy).head()
    assert let_in(toy, "night") == ["night/img004", "night/img005"]
    assert waiting(toy) == ["night", "day"]
    assert left_out(toy / layout.INCOMING / "night" / "samples.csv") == []
    assert len(left_out(toy / layout.INCOMING / "day" / "samples.csv")) == 2
    assert Workspace(toy).head() == head


@pytest.mark.parametrize(
    ("domain", "names", "said"),
    [
        ("day", ["img000"], "day/img000: not left out; of this domain 2 are: day/img004, "),
        ("day", ["img004", "nosuch"], "day/nosuch: not left out"),
        ("dusk", [], "domain 'dusk': no image is left out"),
    ],
)
def test_a_name_that_is_not_left_out_is_refused(
    toy: Path, domain: str, names: list[str], said: str
) -> None:
    stage_with_junk(toy, "day", pool=4, junk=2)
    path = toy / layout.INCOMING / "day" / "samples.csv"
    before = path.read_bytes()
    with pytest.raises(DataError, match=said):
        let_in(toy, domain, names)
    assert path.read_bytes() == before


def test_nothing_is_let_in_while_a_tick_works(toy: Path) -> None:
    stage_with_junk(toy, "day", pool=4, junk=2)
    with Workspace(toy).lock(), pytest.raises(WorkspaceBusyError):
        let_in(toy, "day")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("d" * 300, f"300 characters, expected at most {MAX_DOMAIN_NAME}"),
        ("d" * (MAX_DOMAIN_NAME + 1), "65 characters"),
        ("labelled", "means all labelled images"),
        ("Day", "lower-case"),
        ("day\n", "lower-case"),
    ],
)
def test_names_that_no_domain_can_have(toy: Path, tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "a.png")
    with pytest.raises(ConfigError, match=words):
        add_domain(toy, name, images=tmp_path / "images")
    assert waiting(toy) == []
    check_new_domain("d" * MAX_DOMAIN_NAME)


def test_the_workspace_says_how_large_an_image_may_be(toy: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (1100, 1000)).save(tmp_path / "images" / "a.png")
    Workspace(toy).write_params({"loop": {"max_megapixels": 1.0}})
    with pytest.raises(DataError, match=r"1100x1000 are 1\.1 megapixels, more than the 1 of"):
        add_domain(toy, "day", images=tmp_path / "images")
    Workspace(toy).write_params({"loop": {"max_megapixels": 2.0}})
    assert add_domain(toy, "day", images=tmp_path / "images").num_images == 1


def test_images_that_another_domain_judges_by_are_refused_until_accepted(
    toy: Path, tmp_path: Path, open_toy: Open
) -> None:
    stage_domain(toy, "day", labelled=1, pool=2, val=1)
    tick(open_toy(toy))
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
        shutil.copyfile(toy / f"data/day/{kind}/img003.png", tmp_path / kind / "new.png")
    folders = {"images": tmp_path / "images", "masks": tmp_path / "masks"}
    with pytest.raises(DataError, match=r"new \(labelled\) has the same pixels as day/img003"):
        add_domain(toy, "dusk", **folders)
    assert waiting(toy) == []
    assert add_domain(toy, "dusk", accept=True, **folders).counts["labelled"] == 1
