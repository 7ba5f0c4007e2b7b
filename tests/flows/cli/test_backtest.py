"""`ssl-loop backtest` as typed, on a small synthetic domain with a random encoder."""

from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from flows.cli import main
from pipeline.backtest.significance import sentences
from pipeline.data.synthetic.domains import make_domain

SMALL = ["--set", "image.height_px=64", "--set", "image.width_px=96"]
SHAPE = ["--start", "2", "--rounds", "2", "--query-size", "2", "--seeds", "2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 images in the layout that a backtest reads."""
    root = tmp_path_factory.mktemp("set")
    make_domain("day", root, num_labelled=10, num_pool=10, num_val=0, height_px=64, width_px=96)
    with (root / "splits.csv").open(newline="") as file:
        names = [row["id"] for row in csv.DictReader(file)]
    lines = "".join(f"{name},train,day\n" for name in names)
    (root / "splits.csv").write_text("id,split,domain\n" + lines)
    return root


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["backtest", *words])
    return result.exit_code, result.output


@pytest.mark.programs
def test_a_backtest_gives_a_verdict_figures_and_a_page(folder: Path, tmp_path: Path) -> None:
    out, page, cache = tmp_path / "out.json", tmp_path / "page.html", tmp_path / "cache"
    words = [str(folder), "--fast", "--strategies", "default,entropy,random", *SHAPE, *SMALL]
    words += ["--json", str(out), "--html", str(page), "--cache", str(cache)]
    code, output = run(*words)
    assert code == 0, output
    result = json.loads(out.read_text())
    assert set(result["strategies"]) == {"default", "entropy", "random"}
    for row in result["strategies"].values():
        assert row["labels"] == [2, 4, 6]
        assert [len(seed) for seed in row["miou"]] == [3, 3]
        assert len(row["aulc_minus_random"]) == 3
    assert 0 < result["full_supervision_miou"] <= 1
    assert result["verdict"] in output
    assert "features of a random encoder" in output
    assert result["num_pool"] + result["num_scored"] == 20
    text = page.read_text()
    assert all(sentence in text for sentence in sentences(result["strategies"]))
    assert "://" not in text.replace("http://www.w3.org", "")  # opens offline
    first = page.read_bytes(), out.read_bytes()
    run(*words)
    assert (page.read_bytes(), out.read_bytes()) == first


@pytest.mark.programs
def test_regions_cost_a_share_of_the_pixels(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    words = ["--query-unit", "region", "--region-size", "16", "--start", "1", "--rounds", "1"]
    words += ["--query-size", "12", "--seeds", "1", "--strategies", "random", *SMALL]
    code, output = run(
        str(folder), "--fast", *words, "--json", str(out), "--cache", str(tmp_path / "c")
    )
    assert code == 0, output
    result = json.loads(out.read_text())
    assert result["query_unit"] == "region"
    assert result["strategies"]["random"]["labels"] == [6.25, 9.375]  # of 16 images of 24 regions


@pytest.mark.programs
def test_units_are_set_beside_each_other_by_minutes(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    words = ["--unit", "image,region,correction", "--region-size", "16", "--corrections", "15"]
    words += ["--start", "1", "--rounds", "2", "--query-size", "1", "--seeds", "2", *SMALL]
    words += ["--set", "correct.spread_weight=0.1", "--strategies", "random"]
    code, output = run(
        str(folder), "--fast", *words, "--json", str(out), "--cache", str(tmp_path / "c")
    )
    assert code == 0, output
    result = json.loads(out.read_text())
    assert set(result["units"]) == {"image", "region", "correction"}
    assert result["units"]["correction"]["default"] == "herding"
    ways = result["by_minutes"]["ways"]
    assert set(ways) == {"image/random", "region/random", "correction/random"}
    assert ways["image/random"]["minus_reference"] == [0, 0, 0]
    assert "correction/random" in result["verdict"]
    assert result["verdict"] in output
    for unit in result["units"].values():
        for row in unit["strategies"].values():
            assert all(a <= b for course in row["minutes"] for a, b in itertools.pairwise(course))


@pytest.mark.parametrize("units", ["point", "image,image", ""])
def test_units_that_are_none_are_refused(folder: Path, units: str) -> None:
    code, output = run(str(folder), "--fast", "--unit", units)
    assert code == 2
    assert "expected some of image, region, correction" in output


@pytest.mark.programs
def test_real_trainings_give_the_same_figures_with_a_workspaces_knobs(
    folder: Path, tmp_path: Path
) -> None:
    out, workspace = tmp_path / "out.json", tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "params.yaml").write_text(
        "classes: [a, b]\n"
        "image: {height_px: 32, width_px: 64, scale: 0.5}\n"
        "model: {name: pspnet_mini, encoder: tu-test_efficientnet}\n"
        "embed: {encoder: tu-test_efficientnet}\n"
        "train: {steps: 9, batch_labelled: 2, batch_unlabelled: 2}\n"
    )
    words = [str(folder), "--strategies", "random", "--start", "2", "--rounds", "1", "--seeds", "1"]
    words += ["--json", str(out), "--html", str(tmp_path / "page.html")]
    words += ["--cache", str(tmp_path / "cache"), "--workspace", str(workspace)]
    code, output = run(*words, "--full", "--set", "train.steps=2")
    assert code == 0, output
    full = json.loads(out.read_text())
    assert (
        full["model"]
        == "pspnet_mini trained by mean_teacher for 2 steps in crops of 32x64 pixels at scale 0.5"
    )
    assert full["strategies"]["random"]["labels"] == [2, 6]
    assert [len(seed) for seed in full["strategies"]["random"]["miou"]] == [2]
    assert "pspnet_mini trained by mean_teacher" in (tmp_path / "page.html").read_text()
    code, output = run(*words, "--fast", "--set", "embed.encoder=tu-mobilenetv2_100")
    assert code == 0, output
    fast = json.loads(out.read_text())
    assert set(full) == set(fast)
    full_random, fast_random = (set(each["strategies"]["random"]) for each in (full, fast))
    # What people would have done is replayed by the fast one alone.
    assert full_random | {"acts", "minutes", "pixel_share"} == fast_random
    assert not full_random & {"acts", "minutes", "pixel_share"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say --fast (minutes) or --full"),
        (["--full", "--query-unit", "region"], "--full asks for whole images only"),
        (["--full", "--set", "loop.budget=3"], "loop: unknown key; known here: image, model, tr"),
        (["--fast", "--format", "nonesuch"], "'nonesuch' is not"),
        (["--fast", "--strategies", "best"], "'best': unknown; known here: "),
        (["--fast", "--rounds", "40"], "the pool has 16 images, which leaves 8"),
        (["--fast", "--set", "image.scale=1"], "features are of whole images squeezed"),
        (["--fast", "--set", "train.steps=3"], "train: unknown key; known here: embed, image"),
        (["--fast", *SHAPE, "--set", "embed.encoder=nonesuch"], "nonesuch"),
    ],
)
def test_bad_words_are_refused_and_nothing_is_written(
    folder: Path, tmp_path: Path, words: list[str], said: str
) -> None:
    out = tmp_path / "out.json"
    code, output = run(str(folder), *words, "--json", str(out), "--cache", str(tmp_path / "c"))
    assert code != 0
    assert said in output
    assert not out.exists()
