"""A domain's project in Label Studio: what annotators see, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

from flows.annotators.label_studio_http import Http
from flows.annotators.masks import FROM_NAME, TO_NAME
from pipeline.colours import class_colours
from pipeline.errors import ServiceError

MIN_TITLE, MAX_TITLE = 3, 50  # Label Studio's
SAMPLING = "Uncertainty sampling"  # lowest score of project.model_version first
TAB = "To label, most uncertain first"
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
]


def label_config(class_names: Sequence[str]) -> str:
    """One brush per class, each in its colour; the reason for asking stands above the image."""
    colours = class_colours(len(class_names))
    labels = "\n".join(
        f"    <Label value={quoteattr(name)} background={quoteattr(colour)}/>"
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


def config_classes(config: str) -> list[str]:
    """The classes of a labelling configuration, in order; [] when it has none of our brushes."""
    try:
        root = ElementTree.fromstring(config)
    except ElementTree.ParseError:
        return []
    brushes = root.find(f".//BrushLabels[@name='{FROM_NAME}'][@toName='{TO_NAME}']")
    return [] if brushes is None else [label.get("value", "") for label in brushes.iter("Label")]


def instruction(class_names: Sequence[str]) -> str:
    """What annotators read before the first image (HTML)."""
    paragraphs = (
        "Every pixel gets one class. The model has already painted its guess: "
        "<b>correct it where it is wrong</b>, then press Submit.",
        "<b>To correct</b>, select the region of the right class in the list at the right, then "
        "paint with the brush. Painting over another class is enough: no need to erase it first.",
        "<b>A class that is not in that list yet</b>: press its key (or click its label above the "
        "image), then paint.",
        "<b>The eraser</b> takes a class away. What is erased and not painted again counts as "
        "&quot;unknown&quot;: use it where nobody could tell.",
        "<b>Skip</b> an image that cannot be judged at all; it is not asked for again.",
        "<b>Noticed a mistake after Submit?</b> Open the task again, correct it, press Update.",
        f"Classes: {', '.join(escape(name) for name in class_names)}.",
    )
    return "<br/><br/>".join(paragraphs)


def create_project(http: Http, title: str, class_names: Sequence[str]) -> int:
    """Make the project and its tab; returns the project's id."""
    # Once per domain, so the SDK's import (2.4 to 4.8 s) is bearable here.
    from label_studio_sdk import LabelStudio
    from label_studio_sdk.core.api_error import ApiError

    # Our client puts the token into every request, over whatever the SDK would send.
    sdk: Any = LabelStudio(  # type: ignore[no-untyped-call]
        base_url=http.url, api_key="-", httpx_client=http.client
    )
    try:
        project = sdk.projects.create(
            title=title,
            description="Made by ssl-loop, which sends the tasks and collects the annotations.",
            label_config=label_config(class_names),
            expert_instruction=instruction(class_names),
            show_instruction=True,
            sampling=SAMPLING,
            maximum_annotations=1,
        )
        sdk.views.create(project=project.id, data=_tab())
    except ApiError as error:
        raise ServiceError(
            f"Label Studio at {http.url} does not make the project {title!r} "
            f"({error.status_code}): {str(error.body)[:500]}"
        ) from None
    return int(project.id)


def check_classes(title: str, url: str, config: str, class_names: Sequence[str]) -> None:
    """ServiceError when a project that exists has other classes than the workspace."""
    found = config_classes(config)
    if found != list(class_names):
        raise ServiceError(
            f"Label Studio's project {title!r} ({url}) has the classes {found}, params.yaml has "
            f"{list(class_names)}: masks would be read wrongly. Set the labels in the project's "
            "settings (Labeling Interface) to those of params.yaml, in that order, or rename the "
            "project so that a new one is made"
        )


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
