"""What is asked for and what judges."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.data.formats.folder import locate
from pipeline.data.labelled_folder import held_out, read_labelled_set
from pipeline.errors import DataError


def lay_out(root: Path, rows: list[tuple[str, str, str]]) -> Path:
    """Files of no content: only their names are looked at."""
    for folder, suffix in (("images", "jpg"), ("masks", "png")):
        (root / folder).mkdir(parents=True)
        for name, _, _ in rows:
            (root / folder / f"{name}.{suffix}").touch()
    (root / "classes.csv").write_text("index,name\n0,road\n1,car\n")
    lines = [f"{name},{split},{domain}" for name, split, domain in rows]
    (root / "splits.csv").write_text("\n".join(["id,split,domain", *lines]) + "\n")
    return root


def two_domains() -> list[tuple[str, str, str]]:
    day = [(f"day{place:03}", "train", "day") for place in range(200)]
    dusk = [(f"dusk{place:03}", "train", "dusk") for place in range(50)]
    return [*day, *dusk, ("seen_once", "test", "day"), ("burst", "val", "day")]


def test_every_fifth_block_of_neighbours_is_held_out() -> None:
    names = [f"{place:03}" for place in range(200)]
    assert held_out(names[::-1]) == names[40:60] + names[140:160]
    assert held_out(["a", "b", "c", "d", "e", "f"]) == ["c"]


def test_val_is_held_out_of_each_domain(tmp_path: Path) -> None:
    data = read_labelled_set(locate(lay_out(tmp_path, two_domains())))
    assert len(data.scored) == 40 + 10
    assert {example.domain for example in data.scored} == {"day", "dusk"}
    assert len(data.pool) == 250 - 50
    assert not {e.name for e in data.pool} & {e.name for e in data.scored}
    assert "burst" not in {e.name for e in (*data.pool, *data.scored)}


def test_test_is_judged_with_the_whole_train_split_as_pool(tmp_path: Path) -> None:
    data = read_labelled_set(locate(lay_out(tmp_path, two_domains())), "test")
    assert [example.name for example in data.scored] == ["seen_once"]
    assert len(data.pool) == 250


def test_what_is_absent_is_named(tmp_path: Path) -> None:
    root = lay_out(tmp_path, two_domains())
    (root / "masks" / "day007.png").unlink()
    (root / "images" / "dusk003.jpg").unlink()
    with pytest.raises(DataError, match=r"2 file\(s\) absent: dusk003, day007 \(mask\)"):
        read_labelled_set(locate(root))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,part\na,train\n", "expected at least id and split"),
        ("id,split\na,train\na,train\n", "ids that come twice: a"),
        ("id,split\na,val\n", "0 images to ask for and 0 to judge by"),
    ],
)
def test_bad_splits_are_refused(tmp_path: Path, text: str, said: str) -> None:
    root = lay_out(tmp_path, two_domains())
    (root / "splits.csv").write_text(text)
    with pytest.raises(DataError, match=said):
        read_labelled_set(locate(root))


def test_without_splits_every_image_with_a_mask_is_in_the_pool_or_judges(tmp_path: Path) -> None:
    root = lay_out(tmp_path, two_domains())
    (root / "splits.csv").unlink()
    (root / "images" / "unlabelled.jpg").touch()
    data = read_labelled_set(locate(root))
    assert len(data.pool) + len(data.scored) == 252
    assert {example.domain for example in data.pool} == {"all"}
    with pytest.raises(DataError, match="0 to judge by; expected some of each: splits train and t"):
        read_labelled_set(locate(root), "test")


def test_classes_come_from_the_folder_or_from_the_workspace(tmp_path: Path) -> None:
    root = lay_out(tmp_path, two_domains())
    assert read_labelled_set(locate(root), classes=("a", "b", "c")).classes == ("road", "car")
    (root / "classes.csv").unlink()
    assert read_labelled_set(locate(root), classes=("a", "b", "c")).classes == ("a", "b", "c")
    with pytest.raises(DataError, match=r"no classes\.csv; write one"):
        read_labelled_set(locate(root))


def test_a_folder_without_masks_has_no_answers(tmp_path: Path) -> None:
    root = lay_out(tmp_path, two_domains())
    (root / "masks").rename(root / "truth")
    with pytest.raises(DataError, match="no folder of masks"):
        read_labelled_set(locate(root))
