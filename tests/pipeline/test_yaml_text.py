"""YAML that stands for more than it is: refused before it is built."""

from pathlib import Path

import pytest
from ruamel.yaml.error import YAMLError

from flows.workspace.params_file import check_changes
from flows.workspace.settings import parse_settings
from pipeline.config.params import load_params
from pipeline.errors import ConfigError
from pipeline.yaml_text import load_yaml

LEVELS = list(zip("abcdefgh", "bcdefghi", strict=True))
NINE = "a: &a [x, x, x, x, x, x, x, x, x]\n"
BOMB = NINE + "".join(f"{k}: &{k} [{','.join([f'*{of}'] * 9)}]\n" for of, k in LEVELS)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{k}: &{k} {{<<: [{','.join([f'*{of}'] * 9)}]}}\n" for of, k in LEVELS
)
REFUSED = {
    "aliases": (BOMB, "more than 100000 values"),
    "merged keys": (MERGES, "more than 100000 values"),
    "itself": ("a: &a [*a]", r"alias \*a"),
    "deep": ("a: " + "[" * 100_000, "more than 50 blocks in each other"),
    "deep lists": ("- " * 100_000, "more than 50 blocks in each other"),
    "a long number": ("a: " + "1" * 5000, "limit"),
    "half a sign": ("a: \ud800", "surrogates"),
}


@pytest.mark.parametrize(("text", "words"), REFUSED.values(), ids=REFUSED)
def test_refused_within_bounds(text: str, words: str) -> None:
    with pytest.raises(YAMLError, match=words):
        load_yaml(text)


def test_aliases_that_stay_small_are_fine() -> None:
    assert load_yaml("a: &a {x: 1}\nb: {<<: *a, y: &s 2}\nc: [*a, *s]\n") == {
        "a": {"x": 1},
        "b": {"x": 1, "y": 2},
        "c": [{"x": 1}, 2],
    }


@pytest.mark.parametrize("text", [BOMB, MERGES], ids=["aliases", "merged keys"])
def test_params_and_settings_say_so_in_a_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(f"classes: [a, b]\n{text}")
    for read in (load_params, lambda file: check_changes(file, {"loop": {"budget": 1}})):
        with pytest.raises(ConfigError, match="not valid YAML: more than 100000 values"):
            read(path)
    flow = "[" + text.replace("\n", ", ").replace(": &", ": &") + "]"
    with pytest.raises(ConfigError, match=r"model\.options: not valid YAML: more than") as caught:
        parse_settings([f"model.options={flow}"])
    assert len(str(caught.value)) < 700


def test_a_long_value_is_cut_and_many_problems_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    lines = "\n".join(f"k{number}: 1" for number in range(900))
    path.write_text(f"classes: [a, b]\ndomain: [{'x, ' * 5000}]\n{lines}\n")
    with pytest.raises(ConfigError, match=r"901 problem\(s\)") as caught:
        load_params(path)
    assert "and 851 more" in str(caught.value)
    assert len(str(caught.value)) < 50 * 1000


def test_a_knob_and_a_block_of_the_same_name() -> None:
    with pytest.raises(ConfigError, match="train has a value already, 5"):
        parse_settings(["train=5", "train.steps=3"])
