from pathlib import Path

import pytest

from pipeline.data.formats import FORMATS, read_classes, read_splits
from pipeline.data.synthetic.domains import make_domain
from pipeline.errors import DataError


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(params=FORMATS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_format_finds_what_is_there_and_refuses_an_empty_folder(
    name: str, tmp_path: Path
) -> None:
    # All rows read what the synthetic domain writes, until one with a layout of its own comes.
    make_domain("day", tmp_path / "day", num_labelled=1, num_pool=0, num_val=0, height_px=32)
    source = FORMATS[name](tmp_path / "day")
    assert source.masks
    assert source.splits
    assert source.classes
    assert [path.stem for path in source.images.iterdir()] == list(read_splits(source.splits))
    with pytest.raises(DataError, match="no such folder"):
        FORMATS[name](tmp_path)


def test_a_folder_of_images_alone_is_a_source(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    source = FORMATS["folder"](tmp_path)
    assert (source.masks, source.splits, source.classes) == (None, None, None)


@pytest.mark.parametrize(
    "text",
    [
        "index,name\n0,sky\n1,road\n",
        "\ufeffname,index,colour\nroad,1,red\nsky,0,blue\n",
        "index, name\r\n0, sky\r\n1, road\r\n",
        "sky\nroad\n",
        "\n  sky  \n\nroad",
    ],
)
def test_classes_come_in_order_of_their_index(tmp_path: Path, text: str) -> None:
    assert read_classes(written(tmp_path / "classes.csv", text)) == ("sky", "road")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("index,name\n0,sky\n2,road\n", r"without a gap; missing \[1\]"),
        ("index,name\n1,sky\n2,road\n", r"missing \[0\]"),
        ("index,name\n0,sky\n0,road\n", "index 0 twice: 'sky' and 'road'"),
        ("index,name\n0,sky\n1,sky\n", "'sky': class names must be distinct, got twice"),
        ("index,name\n0,sky\n-1,road\nx,tree\n", "3? ?problem|'-1'.*\n.*'x'"),
        ("index,name\n0,sky\n1,\n", "a whole number and a name"),
        ("sky\nroad\nsky\n", "'sky': .* got twice"),
        ("sky\n", "1 classes, expected 2 to 255"),
        ("", "0 classes"),
        ("id,label\n0,sky\n", "expected columns index,name"),
        ("\n".join(f"c{i}" for i in range(256)), "256 classes"),
    ],
)
def test_classes_that_cannot_be_indices_are_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read_classes(written(tmp_path / "classes.csv", text))


def test_unreadable_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x81")
    for read in (read_classes, read_splits):
        with pytest.raises(DataError, match="not UTF-8"):
            read(tmp_path / "binary")
        with pytest.raises(DataError, match="no such file"):
            read(tmp_path / "none")


def test_splits_by_id_with_other_columns_ignored(tmp_path: Path) -> None:
    text = "\ufeffsplit, id,domain\nval, b,x\npool, a,y\nlabelled,c,\ntest,d,z\n"
    splits = read_splits(written(tmp_path / "splits.csv", text))
    assert splits == {"b": "val", "a": "pool", "c": "labelled", "d": "test"}


def test_every_bad_line_of_splits_is_named(tmp_path: Path) -> None:
    text = "id,split\na,pool\nb,train\na,val\n,pool\nc\n"
    with pytest.raises(DataError) as caught:
        read_splits(written(tmp_path / "splits.csv", text))
    message = str(caught.value)
    assert "4 problem(s); a split is one of labelled, pool, val, test" in message
    assert "line 3: b: split 'train'" in message
    assert "line 4: id 'a' is there twice" in message
    assert "line 5: id '' is empty" in message
    assert "line 6: c: split ''" in message


def test_splits_need_their_columns(tmp_path: Path) -> None:
    for text in ("name,split\na,pool\n", ""):
        with pytest.raises(DataError, match="expected at least id and split"):
            read_splits(written(tmp_path / "splits.csv", text))
