"""A domain's project in Label Studio: what annotators see, and in which order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

from flows.annotators.annotator import Owner
from flows.annotators.entries import PROMPT_PREFIX, TOOL_PREFIX
from flows.annotators.label_studio_http import Http, expect, expect_or_none
from flows.annotators.masks import BRUSH_LABELS, FROM_NAME, LABELS, TO_NAME, UNKNOWN
from pipeline.class_colours import class_colours
from pipeline.errors import ServiceError

MIN_TITLE, MAX_TITLE = 3, 50  # Label Studio's
SAMPLING = "Uncertainty sampling"  # lowest score of project.model_version first
TAB = "To label, most uncertain first"
RETURNED_TAB = "Returned"  # longer titles are cut in the page
RETURNED = "returned"  # a column of tasks whose answer could not be read
DISAGREEMENT = "disagreement"  # a column of tasks whose answers by two people differ
REVIEW = "review"  # a column of tasks whose answer a review doubts
REVIEW_TAB, DISAGREEMENTS_TAB, DONE_TAB = "Review", "Disagreements", "Done"
_MADE = "Made by ssl-loop, which sends the tasks and collects the annotations."
_MARK = re.compile(r"ssl-loop ([0-9a-f]{12}) ([a-z0-9_-]+)")
# Columns of the Data Manager that only say what an open task cannot have yet, or twice the same.
_HIDDEN = [
    "inner_id",
    "completed_at",
    "annotations_results",
    "annotations_ids",
    "predictions_score",
    "predictions_model_versions",
    "predictions_results",
    "total_predictions",
    "file_upload",
    "storage_filename",
    "created_at",
    "updated_at",
    "updated_by",
    "avg_lead_time",
    "total_annotations",
    "cancelled_annotations",
    "annotators",
    "draft_exists",
    "data.item_id",
    "data.workspace",
    "data.image_sha256",
    "data.background",
]
# Tools that make a mask, and what their regions are called in answers. They draw in the class that
# is chosen in the one list of labels. <Bitmask> is read and not offered: it looks as the brush does
# and takes its key, paints no new region over one of its own, and what its eraser takes off is
# still in what is submitted (Label Studio 1.23.2).
_TOOLS = {
    "Brush": "brush",
    "Polygon": "polygon",
    "Rectangle": "rectangle",
    "Ellipse": "ellipse",
    "MagicWand": "wand",
}
# Tools whose points and boxes are questions; shown once "Auto-Annotation" is on, below the image.
_SMART_TOOLS = {"KeyPoint": "point", "Rectangle": "box"}
_UNKNOWN_HINT = "No class: nobody can tell what this is"  # by which the label is known for ours
_UNKNOWN_COLOUR = "#9e9e9e"


def label_config(class_names: Sequence[str], *, brush_only: bool = False) -> str:
    """One list of labels, a class each in its colour, for all tools; the reason stands above.

    The last label is UNKNOWN, unless a class has that name. `brush_only` gives the interface of
    older versions, whose answers are of another kind.
    """
    colours = class_colours(len(class_names))
    labels = [
        f"<Label {_label_name(name)} background={quoteattr(colour)}/>"
        for name, colour in zip(class_names, colours, strict=True)
    ]
    tag, style, tools = "BrushLabels", "", []
    if not brush_only:
        # Shapes are filled as paint is, not as frames around something.
        tag, style = "Labels", ' fillOpacity="0.5"'
        tools = [
            # Every tool is smart that does not say otherwise, and would ask with what it draws.
            f'<{tool} name="{TOOL_PREFIX}{name}" toName="{TO_NAME}" smart="false"/>'
            for tool, name in _TOOLS.items()
        ]
        tools += _smart_tools()
        labels += [_unknown_label()] if UNKNOWN not in class_names else []
    lines = [
        '<Header value="Why this image: $reason" size="6"/>',
        f'<{tag} name="{FROM_NAME}" toName="{TO_NAME}"{style}>',
        *(f"  {label}" for label in labels),
        f"</{tag}>",
        *tools,
    ]
    return (
        "<View>\n"
        + "".join(f"  {line}\n" for line in lines)
        + f'  <Image name="{TO_NAME}" value="$image" zoom="true" zoomControl="true"'
        ' brightnessControl="true" contrastControl="true"/>\n'
        "</View>"
    )


def _smart_tools() -> list[str]:
    return [
        f'<{tool} name="{PROMPT_PREFIX}{name}" toName="{TO_NAME}" smart="true" smartOnly="true"/>'
        for tool, name in _SMART_TOOLS.items()
    ]


def with_smart_tools(config: str) -> str:
    """A labelling configuration that offers click to mask too; itself where it does, and where it
    has another list of labels than the loop's own for all tools."""
    root = _parsed(config)
    ours = _ours(root)
    names = {tag.get("name") for tag in root.iter()}
    missing = [
        tool
        for tool in map(ElementTree.fromstring, _smart_tools())
        if tool.get("name") not in names
    ]
    if ours is None or ours.tag != "Labels" or not missing:
        return config
    for tag in root.iter():
        if tag.tag in _TOOLS and str(tag.get("name")).startswith(TOOL_PREFIX):
            tag.set("smart", "false")
    root.extend(missing)
    return ElementTree.tostring(root, encoding="unicode")


def _label_name(name: str) -> str:
    """A label's attributes. Label Studio puts the task's data in the place of "$image"; answers
    carry the alias, and what is shown has a character without width behind the dollar."""
    if "$" not in name:
        return f"value={quoteattr(name)}"
    shown = name.replace("$", "$\u2060")
    return f"value={quoteattr(shown)} alias={quoteattr(name)}"


def _unknown_label() -> str:
    hint = quoteattr(_UNKNOWN_HINT)
    return f'<Label value="{UNKNOWN}" background="{_UNKNOWN_COLOUR}" hint={hint}/>'


def config_classes(config: str) -> list[str]:
    """The classes of a labelling configuration, in order; [] when it has none of our labels."""
    ours = _ours(_parsed(config))
    labels = [] if ours is None else list(ours.iter("Label"))
    return [_answered(label) for label in labels if label.get("hint") != _UNKNOWN_HINT]


def config_kind(config: str) -> str:
    """The type of the entries in which answers under a labelling configuration say classes."""
    ours = _ours(_parsed(config))
    return LABELS if ours is None or ours.tag == "Labels" else BRUSH_LABELS


def _parsed(config: str) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(config)
    except (ElementTree.ParseError, ValueError):  # lone surrogates
        return ElementTree.Element("View")


def _ours(root: ElementTree.Element) -> ElementTree.Element | None:
    """The loop's own labels: of any tool, or of older versions' brush."""
    name = f"[@name='{FROM_NAME}'][@toName='{TO_NAME}']"
    found = root.find(f".//Labels{name}")
    return root.find(f".//BrushLabels{name}") if found is None else found


def _answered(label: ElementTree.Element) -> str:
    """What answers carry of a label."""
    return label.get("alias") or label.get("value") or ""


def instruction(class_names: Sequence[str], background: str | None = None) -> str:
    """What annotators read before the first image (HTML)."""
    bare, empty = (
        "Leave bare what nobody could tell, or paint it <b>unknown</b> (the last label).",
        "<b>Nothing special to see?</b> Then everything is of the class that is there: paint it "
        "so. An image that is submitted without any paint says nothing and is asked for again.",
    )
    every = "<b>paint all of it</b>, large areas first"
    if background is not None:
        name = escape(background)
        every = f"<b>paint all that is not {name}</b>"
        bare = (
            f"<b>Leave bare what is {name}:</b> whatever nobody painted counts as {name}, and the "
            "model's guess leaves it bare too. Where nobody could tell, paint <b>unknown</b> (the "
            "last label)."
        )
        empty = f"<b>All of it {name}?</b> Press Submit: an image without any paint says just that."
    paragraphs = (
        "Every pixel gets one class. Where the image is painted already, that is the model's "
        "guess: <b>correct it where it is wrong</b>. Where nothing is painted (the first images, "
        f"before there is a model), {every}. Then press Submit.",
        bare,
        "<b>To paint</b>: press <b>Esc</b>, then the key of the class (it stands behind its name "
        "above the image), then paint. <b>What is begun last counts</b>, whatever lies beneath: no "
        "need to erase it first. Painted too far? Ctrl+Z; or Esc, the key of the right class, and "
        "paint it back.",
        "<b>Any tool at the right of the image will do</b>, in the class that is chosen: brush, "
        "polygon, rectangle, ellipse, magic wand (press, drag until the area fits, release). A "
        "polygon, rectangle or ellipse keeps the class for the next one: draw on.",
        "<b>Click instead of painting</b>, where Auto-Annotation stands below the image: switch it "
        "on, and Auto-Accept Suggestions beside it (once; your browser keeps both). Point at the "
        "pink tool at the end of the row and take the dots, press the key of the class, hold "
        "<b>Ctrl</b> (Cmd) and <b>click on the thing</b>: its mask appears. <b>Ctrl+Alt+click</b> "
        "takes away what is too much, another Ctrl+click adds what is missing, Ctrl+Z takes the "
        "last mask back. Or drag the pink frame around the thing. No mask comes? Paint.",
        "<b>Esc comes first, every time</b> you paint another class. While a region is selected, "
        "the key of another class turns <b>all of that region</b> into that class (Ctrl+Z takes it "
        "back), and strokes go into the selected region, whose place in the order stays: where "
        "they meet other paint, the pixels count as unknown or go to the region begun last.",
        "<b>The eraser</b> takes paint off the region that is selected in the list at the right, "
        "Backspace all of that region. What is erased and not painted again counts as if it had "
        "never been painted. Afterwards take a tool again (B is the brush).",
        empty,
        "<b>Skip</b> an image that cannot be judged at all; it is not asked for again.",
        "<b>Noticed a mistake after Submit?</b> Open the task again, correct it, press Update.",
        f"Classes: {', '.join(escape(name) for name in class_names)}.",
    )
    return "<br><br>".join(paragraphs)  # as Label Studio keeps it, to be known again


def description(owner: Owner, before: str = "") -> str:
    """A project's description that says whose it is; what people wrote before stays."""
    kept = [line for line in before.splitlines() if not _MARK.fullmatch(line.strip())]
    mark = f"ssl-loop {owner.workspace_id} {owner.domain}"
    return "\n".join([*kept, mark]) if any(kept) else f"{_MADE}\n{mark}"


def owner_in(text: str) -> Owner | None:
    """Whose a project is by its description; None where it says nothing."""
    for line in text.splitlines():
        if found := _MARK.fullmatch(line.strip()):
            return Owner(workspace_id=found[1], domain=found[2])
    return None


def create_project(
    http: Http, title: str, class_names: Sequence[str], owner: Owner, *, brush_only: bool = False
) -> int:
    """Make the project and its tabs; returns the project's id."""
    body = {
        "title": title,
        "description": description(owner),
        "label_config": label_config(class_names, brush_only=brush_only),
        "expert_instruction": instruction(class_names),
        "show_instruction": True,
        "sampling": SAMPLING,
        "maximum_annotations": 1,
    }
    project_id = expect(http.post("/api/projects/", body), "id", int)
    marked = (
        (REVIEW_TAB, REVIEW),
        (DISAGREEMENTS_TAB, DISAGREEMENT),
        (RETURNED_TAB, RETURNED),
    )
    for tab in (_tab(), *(_marked_tab(*each) for each in marked), _done_tab()):
        http.post("/api/dm/views/", {"project": project_id, "data": tab})
    return project_id


def suit_background(
    http: Http, project_id: int, class_names: Sequence[str], background: str | None
) -> None:
    """Let a project that exists ask with this background, without touching what people have open.

    Labels and their order stay, one of UNKNOWN is added where it is missing; the instruction is
    changed where it is the loop's own.
    """
    path = f"/api/projects/{project_id}/"
    row = http.get(path)
    config = expect(row, "label_config", str)
    said = expect_or_none(row, "expert_instruction", str) or ""
    changes = {}
    if background is not None and (wanted := _with_unknown(config, class_names)) != config:
        changes["label_config"] = wanted
    wanted = instruction(class_names, background)
    if said != wanted and any(said == instruction(class_names, b) for b in (None, *class_names)):
        changes["expert_instruction"] = wanted
    if changes:
        http.patch(path, changes)


def _with_unknown(config: str, class_names: Sequence[str]) -> str:
    root = _parsed(config)
    ours = _ours(root)
    if ours is None or UNKNOWN in class_names or len(list(ours.iter("Label"))) > len(class_names):
        return config
    ours.append(ElementTree.fromstring(_unknown_label()))
    return ElementTree.tostring(root, encoding="unicode")


def check_classes(title: str, url: str, config: str, class_names: Sequence[str]) -> None:
    """ServiceError when answers of a project that exists would be read wrongly or not at all."""
    if problem := _problem(config, class_names):
        raise ServiceError(
            f"Label Studio's project {title!r} ({url}): {problem}. Set it right in the project's "
            "settings (Labeling Interface), or put `classes` in params.yaml back to what they "
            "were when its first answers came. Leave the project and its title as they are: a "
            "new project would not have the answers of this one"
        )


def _problem(config: str, class_names: Sequence[str]) -> str | None:
    """What is wrong with a labelling configuration; tags beside ours are fine as remarks."""
    root = _parsed(config)
    ours = _ours(root)
    if ours is None:
        return (
            f'its interface has no <Labels name="{FROM_NAME}" toName="{TO_NAME}">, whose '
            f"labels are to be those of params.yaml, in that order: {list(class_names)}"
        )
    if (found := config_classes(config)) != list(class_names):
        return (
            f"it has the classes {found}, params.yaml has {list(class_names)}, in that order: "
            "masks would be read wrongly"
        )
    if ours.get("choice", "").startswith("multiple"):
        return 'choice="multiple" gives a region two classes: remove it'
    if root.find(f".//Image[@name='{TO_NAME}'][@value='$image']") is None:
        return f'it has no <Image name="{TO_NAME}" value="$image">, so nobody sees the image'
    for tag in root.iter():
        if tag is ours:
            continue
        if ours.tag == "BrushLabels" and tag.tag in ("Brush", "MagicWand"):
            return f"<{tag.tag}> paints regions without a class, which nobody can read: remove it"
        labels = {_answered(label) for label in tag.iter("Label")} & set(class_names)
        if labels and tag.tag.endswith("Labels"):
            return (
                f"<{tag.tag}> has the labels {sorted(labels)} too, but only those of <{ours.tag} "
                f'name="{FROM_NAME}"> are read: remove them there'
            )
    return None


def _tab() -> dict[str, Any]:
    """Open tasks in the Data Manager; `uncertainty` has fixed digits, since it sorts as text."""

    def none_of(column: str) -> dict[str, Any]:
        return {
            "filter": f"filter:tasks:{column}",
            "operator": "equal",
            "type": "Number",
            "value": 0,
        }

    return {
        "title": TAB,
        "type": "list",
        "ordering": ["-tasks:data.uncertainty"],
        "hiddenColumns": {
            side: [f"tasks:{c}" for c in _HIDDEN] for side in ("explore", "labeling")
        },
        "filters": {
            "conjunction": "and",
            "items": [none_of("total_annotations"), none_of("cancelled_annotations")],
        },
    }


def _marked_tab(title: str, column: str) -> dict[str, Any]:
    """Tasks that say "yes" in a column; the reason is a column too, and stands above the image."""
    marked = {
        "filter": f"filter:tasks:data.{column}",
        "operator": "equal",
        "type": "String",
        "value": "yes",
    }
    return {
        "title": title,
        "type": "list",
        "filters": {"conjunction": "and", "items": [marked]},
    }


def _done_tab() -> dict[str, Any]:
    """Tasks with an answer, the newest first."""
    answered = {
        "filter": "filter:tasks:total_annotations",
        "operator": "greater",
        "type": "Number",
        "value": 0,
    }
    return {
        "title": DONE_TAB,
        "type": "list",
        "ordering": ["-tasks:completed_at"],
        "filters": {"conjunction": "and", "items": [answered]},
    }
