"""What annotators see, made and read back without a server; and what importing it all costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from flows.annotators.label_studio import fit_title
from flows.annotators.label_studio_project import (
    check_classes,
    config_classes,
    instruction,
    label_config,
)
from pipeline.errors import ServiceError

NASTY = ["a & b", "<c>", "\"d\" 'e'", "f\ng", "$image", "ü 猫", " h "]


def test_class_names_survive_the_configuration() -> None:
    assert config_classes(label_config(NASTY)) == NASTY


@pytest.mark.parametrize("num_classes", [1, 20, 255])
def test_every_class_has_a_colour_of_its_own(num_classes: int) -> None:
    root = ElementTree.fromstring(label_config([f"class {i}" for i in range(num_classes)]))
    assert len({label.get("background") for label in root.iter("Label")}) == num_classes


def test_the_image_can_be_zoomed_and_lightened() -> None:
    image = ElementTree.fromstring(label_config(["a", "b"])).find("Image")
    assert image is not None
    assert {"zoomControl", "brightnessControl", "contrastControl"} <= {*image.keys()}


def test_class_names_cannot_break_the_instructions() -> None:
    assert "<script>" not in instruction(["<script>alert(1)</script>", "sky"])


@pytest.mark.parametrize(
    "config",
    [
        "not XML",
        "<View/>",
        '<View><BrushLabels name="other" toName="image"><Label value="a"/></BrushLabels></View>',
        label_config(["b", "a"]),
        label_config(["a", "b", "c"]),
    ],
)
def test_a_project_whose_classes_differ_is_refused_with_both_lists(config: str) -> None:
    with pytest.raises(ServiceError, match=r"params.yaml has \['a', 'b'\]"):
        check_classes("title", "http://x", config, ["a", "b"])


def test_titles_fit_and_stay_apart() -> None:
    titles = ["ab", "a" * 50, "a" * 51, "a" * 52, "x" * 300]
    fitted = [fit_title(title) for title in titles]
    assert all(3 <= len(title) <= 50 for title in fitted)
    assert len(set(fitted)) == len(titles)
    assert fit_title("exactly this") == "exactly this"


def test_importing_the_table_and_the_adapter_stays_light() -> None:
    code = (
        "import sys; import flows.annotators; early = 'httpx' in sys.modules; "
        "import flows.annotators.label_studio, flows.annotators.simulated; "
        "print(early, [m for m in ('torch', 'label_studio_sdk', 'pandas') if m in sys.modules])"
    )
    root = Path(__file__).parents[3]
    said = subprocess.check_output([sys.executable, "-c", code], cwd=root, text=True)
    assert said.strip() == "False []"
