"""A domain's project in Label Studio: what annotators see, and in which order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

from flows.annotators.annotator import Owner
from flows.annotators.label_studio_http import Http, expect
from flows.annotators.masks import FROM_NAME, TO_NAME
from pipeline.class_colours import class_colours
from pipeline.errors import ServiceError

MIN_TITLE, MAX_TITLE = 3, 50  # Label Studio's
SAMPLING = "Uncertainty sampling"  # lowest score of project.model_version first
TAB = "To label, most uncertain first"
RETURNED_TAB = "Sent back"  # longer titles are cut in the page
RETURNED = "returned"  # a column of tasks whose answer could not be read
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
]


def label_config(class_names: Sequence[str]) -> str:
    """One brush per class, each in its colour; the reason for asking stands above the image."""
    colours = class_colours(len(class_names))
    labels = "\n".join(
        f"    <Label {_label_name(name)} background={quoteattr(colour)}/>"
        for name, colour in zip(class_names, colours, strict=True)
    )
    return (
        "<View>\n"
        '  <Header value="Why this image: $reason" size="6"/>\n'
        f'  <BrushLabels name="{FROM_NAME}" toName="{TO_NAME}">\n'
        f"{labels}\n"
        "  </BrushLabels>\n"
        f'  <Image name="{TO_NAME}" value="$image" zoom="true" zoomControl="true"'
        ' brightnessControl="true" contrastControl="true"/>\n'
        "</View>"
    )


def _label_name(name: str) -> str:
    """A label's attributes. Label Studio puts the task's data in the place of "$image"; answers
    carry the alias, and what is shown has a character without width behind the dollar."""
    if "$" not in name:
        return f"value={quoteattr(name)}"
    shown = name.replace("$", "$\u2060")
    return f"value={quoteattr(shown)} alias={quoteattr(name)}"


def config_classes(config: str) -> list[str]:
    """The classes of a labelling configuration, in order; [] when it has none of our brushes."""
    brushes = _brushes(_parsed(config))
    return [] if brushes is None else [_answered(label) for label in brushes.iter("Label")]


def _parsed(config: str) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(config)
    except (ElementTree.ParseError, ValueError):  # lone surrogates
        return ElementTree.Element("View")


def _brushes(root: ElementTree.Element) -> ElementTree.Element | None:
    return root.find(f".//BrushLabels[@name='{FROM_NAME}'][@toName='{TO_NAME}']")


def _answered(label: ElementTree.Element) -> str:
    """What answers carry of a label."""
    return label.get("alias") or label.get("value") or ""


def instruction(class_names: Sequence[str]) -> str:
    """What annotators read before the first image (HTML)."""
    paragraphs = (
        "Every pixel gets one class. Where the image is painted already, that is the model's "
        "guess: <b>correct it where it is wrong</b>. Where nothing is painted (the first images, "
        "before there is a model), <b>paint all of it</b>, large areas first. Then press Submit.",
        "<b>To paint</b>: press <b>Esc</b>, then the key of the class (it stands behind its name "
        "above the image), then paint. <b>What is begun last counts</b>, whatever lies beneath: no "
        "need to erase it first. Painted too far? Ctrl+Z; or Esc, the key of the right class, and "
        "paint it back.",
        "<b>Esc comes first, every time.</b> While a region is selected, the key of another class "
        "turns <b>all of that region</b> into that class (Ctrl+Z takes it back), and strokes go "
        "into the selected region, whose place in the order stays: where they meet other paint, "
        "the pixels count as unknown or go to the region begun last.",
        "<b>The eraser</b> takes paint off the region that is selected in the list at the right. "
        "What is erased and not painted again counts as &quot;unknown&quot;: use it where nobody "
        "could tell.",
        "<b>Nothing special to see?</b> Then everything is of the class that is there: paint it "
        "so. An image that is submitted without any paint says nothing and is asked for again.",
        "<b>Skip</b> an image that cannot be judged at all; it is not asked for again.",
        "<b>Noticed a mistake after Submit?</b> Open the task again, correct it, press Update.",
        f"Classes: {', '.join(escape(name) for name in class_names)}.",
    )
    return "<br/><br/>".join(paragraphs)


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


def create_project(http: Http, title: str, class_names: Sequence[str], owner: Owner) -> int:
    """Make the project and its tabs; returns the project's id."""
    body = {
        "title": title,
        "description": description(owner),
        "label_config": label_config(class_names),
        "expert_instruction": instruction(class_names),
        "show_instruction": True,
        "sampling": SAMPLING,
        "maximum_annotations": 1,
    }
    project_id = expect(http.post("/api/projects/", body), "id", int)
    for tab in (_tab(), _returned_tab()):
        http.post("/api/dm/views/", {"project": project_id, "data": tab})
    return project_id


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
    ours = _brushes(root)
    if ours is None:
        return (
            f'its interface has no <BrushLabels name="{FROM_NAME}" toName="{TO_NAME}">, whose '
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
        if tag.tag in ("Brush", "MagicWand"):
            return f"<{tag.tag}> paints regions without a class, which nobody can read: remove it"
        labels = {_answered(label) for label in tag.iter("Label")} & set(class_names)
        if labels and tag.tag.endswith("Labels"):
            return (
                f"<{tag.tag}> has the labels {sorted(labels)} too, but only the brush's are read: "
                "remove them there"
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


def _returned_tab() -> dict[str, Any]:
    """Tasks whose answer could not be read; the reason stands above the image."""
    returned = {
        "filter": f"filter:tasks:data.{RETURNED}",
        "operator": "equal",
        "type": "String",
        "value": "yes",
    }
    return {
        "title": RETURNED_TAB,
        "type": "list",
        "filters": {"conjunction": "and", "items": [returned]},
    }
