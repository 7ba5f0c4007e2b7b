"""`ssl-loop shift --fast` as typed, on small synthetic domains with a random encoder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from flows.cli import main
from pipeline.data.synthetic.domains import make_domain

SMALL = ["--set", "image.height_px=64", "--set", "image.width_px=96",
         "--set", "embed.encoder=tu-test_efficientnet"]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 images by day and 6 at dusk in the layout of a labelled set."""
    root = tmp_path_factory.mktemp("set")
    rows = ["id,split,domain"]
    for domain, num in (("day", 12), ("dusk", 6)):
        apart = root / domain
        make_domain(
            domain, apart, num_labelled=num, num_pool=0, num_val=0, height_px=64, width_px=96
        )
        for kind in ("images", "masks"):
            (root / kind).mkdir(exist_ok=True)
            for path in (apart / kind).iterdir():
                shutil.move(path, root / kind / f"{domain}_{path.name}")
        shutil.copyfile(apart / "classes.csv", root / "classes.csv")
        split = "train" if domain == "day" else "test"
        rows += [f"{domain}_street_{number:04d},{split},{domain}" for number in range(num)]
    (root / "splits.csv").write_text("\n".join(rows) + "\n")
    return root


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["shift", *words])
    return result.exit_code, result.output


@pytest.mark.heavy
def test_a_report_as_json_page_and_words(folder: Path, tmp_path: Path) -> None:
    out, page, cache = tmp_path / "out.json", tmp_path / "page.html", tmp_path / "cache"
    words = ["day", "dusk", "--fast", "--data", str(folder), *SMALL, "--json", str(out)]
    words += ["--html", str(page), "--cache", str(cache), "--check-on", "test"]
    code, output = run(*words)
    assert code == 0, output
    found = json.loads(out.read_text())
    assert found["verdict"] in ("none", "mild", "strong")
    for key in ("proxy_a_distance", "expected_miou"):
        value, low, high = found[key]
        assert low <= value <= high
    assert found["num_images"] == {"a": 12, "b": 6}
    assert len(found["truth"]) == 1
    falls = {each["expected_fall"] for each in found["rehearsals"]}
    directions = {each["direction"] for each in found["rehearsals"]}
    assert len(directions) > 5
    assert len(falls) > 5  # as many as there are alterations, or one if none were made
    assert all(sentence in output for sentence in found["in_words"])
    assert "Measured since, on test images of dusk with their masks" in output
    text = page.read_text()
    assert text.count("<svg") == 4
    assert text.count("data:image/jpeg") == 6
    assert "://" not in text.replace("http://www.w3.org", "")  # opens offline
    first = page.read_bytes(), out.read_bytes()
    run(*words)
    assert (page.read_bytes(), out.read_bytes()) == first


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["day", "night"], "night: not in"),
        (["day", "day"], "'day' twice"),
        (["dusk", "day"], "0 train images of dusk"),
        (["day", "dusk", "--check-on", "test", "--set", "embed.encodr=x"], "unknown key"),
    ],
)
def test_what_cannot_be_compared_is_refused(folder: Path, words: list[str], said: str) -> None:
    code, output = run(*words, "--fast", "--data", str(folder))
    assert code == 1
    assert said in output


def test_options_that_do_not_go_together_are_refused(folder: Path) -> None:
    assert "say --data DIR" in run("day", "dusk", "--fast")[1]
    assert "--data goes with --fast" in run("day", "dusk", "--data", str(folder))[1]
