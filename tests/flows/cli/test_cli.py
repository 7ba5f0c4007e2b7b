from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from ruamel.yaml import YAML

from flows.cli import main
from flows.workspace.settings import parse_settings
from pipeline.config.params import AUTO_KNOBS, TrainParams, load_params
from pipeline.errors import ConfigError


def ssl_loop(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    path = tmp_path / "classes.txt"
    path.write_text("road\ncar\n")
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(3):
        pixels = np.full((40, 40, 3), 60 * index, np.uint8)
        Image.fromarray(pixels).save(folder / f"photo{index}.png")
    return folder


@pytest.mark.programs
def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from flows.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'prefect', 'sqlalchemy', 'pandas', 'label_studio_sdk', 'pydantic'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for command in ("init", "domain", "up", "down", "status", "run", "doctor", "report", "round"):
        assert command in done.stdout


@pytest.mark.programs
def test_a_workspace_from_init_to_status(tmp_path: Path, classes: Path, images: Path) -> None:
    root = tmp_path / "scene"
    made = ssl_loop("init", root, "--classes", classes, "--set", "train.steps=7")
    assert made.exit_code == 0, made.output
    assert load_params(root / "params.yaml").train.steps == 7
    added = ssl_loop("domain", "add", "day", "--images", images, "--budget", "2", "-w", root)
    assert "left out of the loop: 3, kept on disk\n    day/photo0: blank: all of it" in added.output
    let_in = ssl_loop("domain", "let-in", "day", "photo0", "photo1", "-w", root)
    assert let_in.output == "domain day: 2 image(s) let in\n"
    assert added.exit_code == 0, added.output
    found = json.loads(ssl_loop("status", "--json", "-w", root).output)
    assert found["waiting_domains"] == ["day"]
    assert found["domain"] is None
    assert not found["finished"]
    assert "waiting: day" in ssl_loop("status", "-w", root).output


@pytest.mark.programs
def test_the_background_is_said_at_the_beginning(tmp_path: Path, classes: Path) -> None:
    first, *_ = classes.read_text().split()
    made = ssl_loop("init", tmp_path / "a", "--classes", classes, "--background", first)
    assert made.exit_code == 0, made.output
    assert f"What people leave bare is {first}." in made.output
    assert load_params(tmp_path / "a/params.yaml").annotation.background == first


def test_a_background_that_is_no_class_is_one_line_and_leaves_nothing_behind(
    tmp_path: Path, classes: Path
) -> None:
    names = ", ".join(classes.read_text().split())
    refused = ssl_loop("init", tmp_path / "a", "--classes", classes, "--background", "soup")
    assert refused.exit_code == 1
    assert refused.output == f"Error: --background 'soup' is not one of the classes: {names}\n"
    assert not (tmp_path / "a").exists()


@pytest.mark.programs
def test_a_new_workspace_leaves_to_the_plan_what_nobody_set(tmp_path: Path, classes: Path) -> None:
    root = tmp_path / "scene"
    made = ssl_loop("init", root, "--classes", classes, "--set", "train.steps=7")
    assert made.exit_code == 0, made.output
    written = YAML(typ="safe").load(root / "params.yaml")
    at_auto = {knob for knob in AUTO_KNOBS if value_of(written, knob) == "auto"}
    assert at_auto == set(AUTO_KNOBS) - {"train.steps"}
    assert ssl_loop("init", tmp_path / "fixed", "--classes", classes, "--no-plan").exit_code == 0
    fixed = YAML(typ="safe").load(tmp_path / "fixed/params.yaml")
    assert not [knob for knob in AUTO_KNOBS if value_of(fixed, knob) == "auto"]
    assert load_params(tmp_path / "fixed/params.yaml").train == TrainParams()


def value_of(written: dict[str, Any], knob: str) -> Any:
    block, name = knob.split(".")
    return written[block][name]


@pytest.mark.programs
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("status", "-w", "nowhere"), "ssl-loop init"),
        (("round", "close", "-w", "nowhere"), "ssl-loop init"),
        (("domain", "add", "Day Time", "--images", "x", "-w", "SCENE"), "lower-case"),
        (("domain", "add", "day", "--images", "missing", "-w", "SCENE"), "no such folder"),
        (("round", "close", "-w", "SCENE"), "domain add"),
        (("simulate-annotator", "--truth", ".", "--rate", "skips=1", "-w", "SCENE"), "ssl-loop up"),
    ],
)
def test_mistakes_get_one_message_with_the_remedy(
    arguments: tuple[str, ...], said: str, tmp_path: Path, classes: Path
) -> None:
    root = tmp_path / "scene"
    ssl_loop("init", root, "--classes", classes)
    result = ssl_loop(*(str(root) if a == "SCENE" else a for a in arguments))
    assert result.exit_code == 1
    assert said in result.output
    assert "Traceback" not in result.output


def test_a_wrong_setting_makes_no_workspace(tmp_path: Path, classes: Path) -> None:
    result = ssl_loop("init", tmp_path / "scene", "--classes", classes, "--set", "train.stepz=7")
    assert result.exit_code == 1
    assert "train.stepz: unknown key" in result.output
    assert not (tmp_path / "scene").exists()


def test_settings_become_nested_blocks() -> None:
    assert parse_settings(["a.b=1", "a.c=x", "d=[1, 2]"]) == {"a": {"b": 1, "c": "x"}, "d": [1, 2]}
    for bad in ("a.b", "=1", "a=[1"):
        with pytest.raises(ConfigError, match="--set"):
            parse_settings([bad])


def test_methods_lists_every_name_of_the_field() -> None:
    found = json.loads(ssl_loop("methods", "--json").stdout)
    assert [entry["name"] for entry in found] == [
        *("supervised", "mean_teacher", "ua_mt", "cutmix_seg", "cct"),
        *("fixmatch", "freematch", "flexmatch", "softmatch", "soft_teacher"),
        *("st_plus_plus", "cbst", "cps", "adv_semi_seg", "s4gan", "reco", "u2pl"),
        *("unimatch_v1", "unimatch_v2", "augseg", "corrmatch", "prevmatch"),
    ]
    fixmatch = next(entry for entry in found if entry["name"] == "fixmatch")
    assert fixmatch["mixes"] == ["cutmix"]
    assert fixmatch["averaged_teacher"]
    for entry in found:
        assert re.search(r"\d{4}\)|honest baseline", entry["what"]), entry


def test_methods_tells_people_what_each_does_and_takes() -> None:
    said = ssl_loop("methods").output
    for words in ("consistency", "cct", "Ouali et al.", "options: ", "method.options"):
        assert words in said


def test_an_error_of_the_system_is_one_line() -> None:
    @click.group(cls=type(main))
    def group() -> None:
        pass

    @group.command()
    def full() -> None:
        raise OSError(28, "No space left on device", "/w/data/a.png")

    done = CliRunner().invoke(group, ["full"])
    assert done.exit_code == 1
    assert done.output.startswith(
        "Error: /w/data/a.png: cannot be written: No space left on device"
    )
    assert len(done.output.splitlines()) == 1
