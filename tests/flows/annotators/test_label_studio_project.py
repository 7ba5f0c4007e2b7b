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
    config_kind,
    instruction,
    label_config,
)
from flows.annotators.masks import BRUSH_LABELS, LABELS
from pipeline.errors import ServiceError

NASTY = ["a & b", "<c>", "\"d\" 'e'", "f\ng", "$image", "ü 猫", " h "]


def test_class_names_survive_the_configuration() -> None:
    assert config_classes(label_config(NASTY)) == NASTY


@pytest.mark.parametrize("num_classes", [1, 20, 255])
def test_every_class_has_a_colour_of_its_own(num_classes: int) -> None:
    root = ElementTree.fromstring(label_config([f"class {i}" for i in range(num_classes)]))
    colours = {label.get("background") for label in root.iter("Label")}
    assert len(colours) == num_classes + 1  # and the unknown one


def test_the_image_can_be_zoomed_and_lightened() -> None:
    image = ElementTree.fromstring(label_config(["a", "b"])).find("Image")
    assert image is not None
    assert {"zoomControl", "brightnessControl", "contrastControl"} <= {*image.keys()}


def test_class_names_cannot_break_the_instructions() -> None:
    assert "<script>" not in instruction(["<script>alert(1)</script>", "sky"])


def test_class_names_with_a_dollar_are_no_places_for_the_tasks_data() -> None:
    config = label_config(["$image", "a$reason", "car"])
    assert [label.get("alias") for label in ElementTree.fromstring(config).iter("Label")] == [
        "$image",
        "a$reason",
        None,
        None,
    ]
    assert config.count("$image") == 2  # the alias, and the image itself
    check_classes("title", "http://x", config, ["$image", "a$reason", "car"])


@pytest.mark.parametrize(
    "config",
    [
        "not XML",
        "<View/>",
        '<View><BrushLabels name="other" toName="image"><Label value="a"/></BrushLabels></View>',
        '<View><BrushLabels name="label" toName="other"><Label value="a"/></BrushLabels></View>',
        label_config(["a", "b"]).replace("Labels", "PolygonLabels"),
        label_config(["a", "b"], brush_only=True).replace("BrushLabels", "PolygonLabels"),
        label_config(["a", "b"]).replace('hint="No class', 'hint="My class'),
        label_config(["b", "a"]),
        label_config(["a"]),
        label_config(["a", "a", "b"]),
        label_config(["A", "b"]),
        label_config(["a", "b", "c"]),
        label_config(["a", "b"]).replace('value="a"', 'value="a" alias="c"'),
    ],
)
def test_a_project_whose_classes_differ_is_refused_with_what_they_should_be(config: str) -> None:
    with pytest.raises(ServiceError, match=r"params.yaml.*in that order: *\['a', 'b'\]|has \['a'"):
        check_classes("title", "http://x", config, ["a", "b"])


def beside(xml: str, *, brush_only: bool = False) -> str:
    config = label_config(["a", "b"], brush_only=brush_only)
    return config.replace("</View>", f"{xml}</View>")


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (
            beside('<MagicWand name="w" toName="image"/>', brush_only=True),
            "<MagicWand> paints regions without",
        ),
        (
            beside('<Brush name="w" toName="image"/>', brush_only=True),
            "<Brush> paints regions without",
        ),
        (
            beside('<PolygonLabels name="p" toName="image"><Label value="b"/></PolygonLabels>'),
            r"<PolygonLabels> has the labels \['b'\] too",
        ),
        (
            beside('<BrushLabels name="p" toName="image"><Label value="a"/></BrushLabels>'),
            r"<BrushLabels> has the labels \['a'\] too",
        ),
        (
            label_config(["a", "b"]).replace("<Labels", '<Labels choice="multiple"'),
            "two classes",
        ),
        (label_config(["a", "b"]).replace('"$image"', '"$photo"'), "nobody sees the image"),
    ],
)
def test_an_interface_whose_answers_nobody_can_read_is_refused_by_name(
    config: str, named: str
) -> None:
    with pytest.raises(ServiceError, match=named):
        check_classes("title", "http://x", config, ["a", "b"])


@pytest.mark.parametrize(
    "xml",
    [
        '<Choices name="q" toName="image"><Choice value="a"/></Choices>',
        '<TextArea name="t" toName="image" perRegion="true"/><Relations/>',
        '<RectangleLabels name="r" toName="image"><Label value="damage"/></RectangleLabels>',
        '<Rectangle name="r" toName="image"/><Rating name="n" toName="image"/>',
    ],
)
@pytest.mark.parametrize("brush_only", [False, True])
def test_remarks_may_be_asked_for_beside_the_mask(xml: str, brush_only: bool) -> None:
    check_classes("title", "http://x", beside(xml, brush_only=brush_only), ["a", "b"])


def test_the_remedy_for_changed_classes_keeps_the_answers() -> None:
    with pytest.raises(ServiceError) as caught:
        check_classes("title", "http://x", label_config(["a", "b"]), ["b", "a"])
    said = str(caught.value)
    assert "put `classes` in params.yaml back" in said
    assert "rename" not in said


def test_the_instruction_is_right_with_and_without_a_guess() -> None:
    said = instruction(["sky", "road"])
    for words in ("that is the model's guess", "nothing is painted", "<b>Esc</b>", "Ctrl+Z"):
        assert words in said
    assert "already painted its guess" not in said


def test_with_a_background_the_instruction_says_what_to_leave_bare() -> None:
    said = instruction(["sky", "<soil>"], "<soil>")
    for words in (
        "<b>Leave bare what is &lt;soil&gt;:</b>",
        "<b>paint all that is not &lt;soil&gt;</b>",
        "All of it &lt;soil&gt;?",
        "paint <b>unknown</b>",
    ):
        assert words in said
    assert "says nothing and is asked for again" not in said
    assert "is asked for again" in instruction(["sky", "<soil>"])


TOOLS = ["Brush", "Polygon", "Rectangle", "Ellipse", "MagicWand"]


def test_one_list_of_labels_serves_every_tool_and_ends_with_the_unknown() -> None:
    root = ElementTree.fromstring(label_config(["a", "b"]))
    (labels,) = root.findall("Labels")
    assert [label.get("value") for label in labels] == ["a", "b", "unknown"]
    drawing = [tag for tag in root if str(tag.get("name")).startswith("label_")]
    assert [tag.tag for tag in drawing] == TOOLS
    assert {tag.get("toName") for tag in root if tag.tag in TOOLS} == {"image"}
    named = ElementTree.fromstring(label_config(["a", "unknown"]))
    assert [label.get("value") for label in named.iter("Label")] == ["a", "unknown"]
    assert config_classes(label_config(["a", "unknown"])) == ["a", "unknown"]


def test_projects_of_older_versions_are_known_by_their_brush() -> None:
    older = label_config(["a", "b"], brush_only=True)
    assert (config_kind(older), config_kind(label_config(["a", "b"]))) == (BRUSH_LABELS, LABELS)
    assert config_classes(older) == ["a", "b"]
    assert "unknown" not in older
    assert not [tag for tag in ElementTree.fromstring(older).iter() if tag.tag in TOOLS]


def test_titles_fit_and_stay_apart() -> None:
    titles = ["ab", "a" * 50, "a" * 51, "a" * 52, "x" * 300]
    fitted = [fit_title(title) for title in titles]
    assert all(3 <= len(title) <= 50 for title in fitted)
    assert len(set(fitted)) == len(titles)
    assert fit_title("exactly this") == "exactly this"


@pytest.mark.programs
def test_importing_the_table_and_the_adapter_stays_light() -> None:
    code = (
        "import sys; import flows.annotators; early = 'httpx' in sys.modules; "
        "import flows.annotators.label_studio, flows.annotators.simulated; "
        "print(early, [m for m in ('torch', 'label_studio_sdk', 'pandas') if m in sys.modules])"
    )
    root = Path(__file__).parents[3]
    said = subprocess.check_output([sys.executable, "-c", code], cwd=root, text=True)
    assert said.strip() == "False []"
