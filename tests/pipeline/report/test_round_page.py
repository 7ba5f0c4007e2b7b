from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.campaign.stopping import advise
from pipeline.config.rounds import LoopParams
from pipeline.errors import DataError
from pipeline.metrics.audit_estimate import AuditEstimate
from pipeline.report import charts, render, training_charts
from pipeline.report.data import LeftOutFacts, Report, RoundFacts
from tests.pipeline.report.conftest import Charts

pytestmark = pytest.mark.usefixtures("charts_once")

Make = Callable[..., Report]
VOID = {"meta", "img", "br"}
HOSTILE = "<script>alert('x')</script>\"'&<img src=x onerror=alert(1)>{{ 7 * 7 }}"


class Page(HTMLParser):
    """Tags with their attributes, the visible text, and whether every tag is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def html_of(report: Report, tmp_path: Path) -> str:
    render(report, tmp_path / "report/index.html")
    return (tmp_path / "report/index.html").read_text(encoding="utf-8")


def test_the_page_shows_every_part(make_report: Make, tmp_path: Path) -> None:
    page = Page(html_of(make_report(), tmp_path))
    for words in (
        "Round 2 of day: 28 labels, teacher 0.60 mIoU (+0.05), baseline 0.58",
        "Learning curve",
        "IoU per class on day",
        "uncertain (entropy 0.63, top 1 of 20)",
        "day/a",
        "Pseudo-labels",
        "Training",
        "Versions",
        "2.15.0",
    ):
        assert words in page.text
    assert len(page.named("svg")) == 4
    assert "transductive" not in page.text
    assert len(page.named("img")) == 3 + 2
    rows = re.findall(r"<tr class=\"[^\"]*\">.*?</tr>", html_of(make_report(), tmp_path), re.DOTALL)
    assert len(rows) == 3
    assert [("here" in row.split(">")[0]) for row in rows] == [False, False, True]


def test_a_transductive_teacher_is_marked_in_every_table(
    make_report: Make, round_row: Callable[..., RoundFacts], evaluation, tmp_path: Path
) -> None:
    rounds = (round_row("day", 0), round_row("day", 1), round_row("day", 2, transductive=True))
    found = {**evaluation(day=(0.58, 0.6), dusk=(0.4, 0.5)), "transductive": True}
    html = html_of(make_report(rounds=rounds, evaluation=found), tmp_path)
    page = Page(html)
    marks = [attributes["title"] or "" for attributes in page.named("abbr")]
    # The round; two classes with an IoU; two domains.
    assert len(marks) == 1 + 2 + 2
    assert all("val and test images, without masks" in mark for mark in marks)
    assert "Round 2 of day: 28 labels, transductive teacher 0.60 mIoU" in page.text
    assert "Rounds: day/r2." in page.text
    assert page.text.count("transductive: val and test images") == 3  # curve, rounds, classes


def test_the_audit_estimate_has_its_section_only_where_there_is_one(
    make_report: Make, tmp_path: Path
) -> None:
    assert "drawn at random" not in Page(html_of(make_report(), tmp_path)).text
    few = AuditEstimate(num_images=4, miou=None, low=None, high=None, no_answer=0, no_teacher=1)
    page = Page(html_of(make_report(audit=few), tmp_path))
    assert "Too few images for a number: 4 images drawn at random" in page.text
    known = replace(few, num_images=12, miou=0.61, low=0.55, high=0.67)
    page = Page(html_of(make_report(audit=known), tmp_path))
    assert page.text.count("0.61 mIoU, 0.55 to 0.67 with 95 % confidence") == 1
    assert "On 12 images drawn at random, the teachers of their rounds have 0.61 mIoU" in page.text


def test_the_page_says_what_stopping_would_lose(make_report: Make, tmp_path: Path) -> None:
    points = [(12, 0.37), (20, 0.42), (28, 0.45)]
    going = advise(points, 50, 6.0, [0.9], LoopParams())
    page = Page(html_of(make_report(stopping=going), tmp_path))
    assert page.text.count("If you stop now, expected loss") == 2  # findings, section
    assert "agree with the round before's by 0.900" in page.text
    assert "Advice" not in page.text
    done = advise(points, 50, 6.0, [1.0] * 3, LoopParams(stop="auto"))
    page = Page(html_of(make_report(stopping=done, query=(), why_finished="a rule"), tmp_path))
    assert page.text.count("The domain is closed: predictions on the stop set") == 2
    assert page.text.count("Nothing is asked for: a rule") == 2


def test_a_query_tells_its_minutes(make_report: Make, tmp_path: Path) -> None:
    (item,) = make_report().query
    text = Page(html_of(make_report(query=(replace(item, minutes=2.41),)), tmp_path)).text
    assert "This round asks for 1 image, about 2.4 min of people's time." in text
    assert "score 0.63, about 2.4 min" in text


def test_the_page_opens_offline(make_report: Make, tmp_path: Path) -> None:
    page = Page(html_of(make_report(), tmp_path))
    assert all((image["src"] or "").startswith("data:image/jpeg") for image in page.named("img"))
    assert not page.named("script") + page.named("link")
    for _, attributes in page.tags:
        loaded = [attributes.get(name) or "" for name in ("src", "xlink:href", "style")]
        assert not any(re.match("(https?:)?//|url", value) for value in loaded)
    policy = page.named("meta")[2]
    assert (policy["content"] or "").startswith("default-src 'none'")


def test_equal_facts_give_equal_bytes(
    make_report: Make, tmp_path: Path, charts_once: Charts
) -> None:
    first = html_of(make_report(), tmp_path)
    charts_once.clear()
    assert html_of(make_report(), tmp_path) == first


def test_hostile_names_are_text(make_report: Make, tmp_path: Path) -> None:
    plain = Page(html_of(make_report(), tmp_path))
    report = make_report()
    item = replace(report.query[0], sample_id=HOSTILE, reason=HOSTILE, source=HOSTILE)
    example = replace(report.pseudo_label_examples[0], sample_id=HOSTILE)
    hostile = make_report(
        workspace_name=HOSTILE,
        class_names=(HOSTILE, "sky", "pole"),
        query=(item,),
        pseudo_label_examples=(example,),
        versions={HOSTILE: HOSTILE},
        links={HOSTILE: 'http://x/"><script>'},
    )
    page = Page(html_of(hostile, tmp_path))
    assert page.text.count(HOSTILE) >= 7
    assert "onerror" not in {name for _, attributes in page.tags for name in attributes}
    assert len(page.tags) <= len(plain.tags)  # the renamed class has no IoU: fewer, never more
    assert not page.named("script")


@pytest.mark.parametrize(
    "name", ["$\\frac{$", "a $b$ c", "$", "_x^{2}", "\\alpha", "&lt;b&gt;", "]]>", "<!--", "%s {0}"]
)
def test_a_class_of_any_characters_is_drawn_as_it_is_written(
    make_report: Make, tmp_path: Path, name: str
) -> None:
    look = {"step": 300, "miou": 0.5, "iou": {name: 0.4}, "precision": {name: 0.9}}
    curves = {"steps": 300, "loss": [2.0, 1.0], "monitor": [look | {"coverage": {name: 0.5}}] * 2}
    report = make_report(
        class_names=(name, "sky", "pole"),
        domain=name,
        rounds=(replace(make_report().rounds[0], domain=name),) * 2,
        training={"baseline": {"steps": 300, "loss": [2.0, 1.5]}, "teacher": curves},
    )
    drawn = "".join(
        [
            training_charts.class_curves(report.training, report.class_names),
            charts.learning_curves(report.rounds),
        ]
    )
    shown = Page(f"<div>{drawn}</div>").text
    assert shown.count(name) == 2
    assert name in Page(html_of(report, tmp_path)).text


def test_a_link_that_is_no_web_address_is_text(make_report: Make, tmp_path: Path) -> None:
    links = {"bad": "javascript:alert(1)", "good": "https://example.org"}
    page = Page(html_of(make_report(links=links), tmp_path))
    assert [link["href"] for link in page.named("a")] == ["https://example.org"]
    assert "javascript:alert(1)" in page.text


def test_what_is_unknown_is_never_zero(
    make_report: Make,
    round_row: Callable[..., RoundFacts],
    evaluation: Callable[..., dict[str, Any]],
    tmp_path: Path,
) -> None:
    nothing = {"miou_baseline": None, "miou_teacher": None, "minutes": None, "reliable_share": None}
    report = make_report(
        round_index=0,
        rounds=(round_row("day", 0, labelled=0, accepted=0, corrected=0, **nothing),),
        evaluation=evaluation(day=(None, None)),
        previous_evaluation=None,
        training={"baseline": {"trained": False}, "teacher": {"trained": False}},
        query=tuple(
            replace(item, pseudo_label_path=None, uncertainty_path=None)
            for item in make_report().query
        ),
        pseudo_label_examples=(),
    )
    page = Page(html_of(report, tmp_path))
    assert page.text.lower().count("not yet measurable") == 5
    # curve, two of the round, classes, certainty
    assert "There is no model yet, so no pre-annotation and no uncertainty." in page.text
    assert not re.search(r"\b0\.0+\b", page.text)
    assert page.named("svg") == []


def test_a_class_without_validation_pixels_is_not_yet_measurable(
    make_report: Make, tmp_path: Path
) -> None:
    html = html_of(make_report(), tmp_path)
    row = next(row for row in re.findall(r"<tr>.*?</tr>", html, re.DOTALL) if "pole" in row)
    assert "not yet measurable" in row
    assert "width" not in row


def test_a_second_domain_gets_a_curve_and_a_row(
    make_report: Make,
    round_row: Callable[..., RoundFacts],
    evaluation: Callable[..., dict[str, Any]],
    tmp_path: Path,
) -> None:
    rounds = (*make_report().rounds, round_row("dusk", 0))
    both = evaluation(day=(0.5, 0.55), dusk=(0.4, 0.45))
    report = make_report(domain="dusk", round_index=0, rounds=rounds, evaluation=both)
    html = html_of(report, tmp_path)
    assert "Every domain, this round's models" in Page(html).text.replace("\n", " ")
    assert html.count('class="here shift"') == 1


def test_an_empty_query_says_so(make_report: Make, tmp_path: Path) -> None:
    page = Page(html_of(make_report(query=(), why_finished="budget of 9 spent"), tmp_path))
    assert "Nothing is asked for: budget of 9 spent." in page.text


def test_what_is_left_out_is_shown_with_its_reason(make_report: Make, tmp_path: Path) -> None:
    image = make_report().query[0].image_path
    facts = tuple(
        LeftOutFacts(
            sample_id=f"day/junk{k:02}", reason="blank: <b>all</b> of it", image_path=image
        )
        for k in range(30)
    )
    page = Page(html_of(make_report(left_out=facts), tmp_path))
    assert "Left out: 30 images that no label would help with" in page.text
    assert "blank: <b>all</b> of it" in page.text
    assert "ssl-loop domain let-in day" in page.text
    assert "The first 24; all are named in data/manifest.csv." in page.text
    assert ("day/junk23" in page.text, "day/junk24" in page.text) == (True, False)
    assert "Left out" not in Page(html_of(make_report(), tmp_path)).text


@pytest.mark.heavy
def test_sixteen_large_images_stay_below_5_mb(make_report: Make, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (90, 120, 3), dtype=np.uint8))
    coarse.resize((1920, 1440), Image.Resampling.BICUBIC).save(tmp_path / "large.jpg")
    items = tuple(
        replace(make_report().query[0], rank=rank, image_path=tmp_path / "large.jpg")
        for rank in range(1, 17)
    )
    assert len(html_of(make_report(query=items), tmp_path)) < 5e6


def test_a_failed_rendering_leaves_the_page_before(make_report: Make, tmp_path: Path) -> None:
    before = html_of(make_report(), tmp_path)
    (tmp_path / "image.png").write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"image\.png"):
        render(make_report(), tmp_path / "report/index.html")
    assert (tmp_path / "report/index.html").read_text(encoding="utf-8") == before
    assert [path.name for path in (tmp_path / "report").iterdir()] == ["index.html"]


def test_every_class_needs_a_colour(make_report: Make) -> None:
    with pytest.raises(ValueError, match="2 colours for 3 classes"):
        make_report(class_colours=("#000000", "#ffffff"))


def test_regions_are_counted_where_people_are_asked_for_them(
    make_report: Make, round_row: Callable[..., RoundFacts], tmp_path: Path
) -> None:
    plain = Page(html_of(make_report(), tmp_path))
    assert "of thepixels" not in plain.text
    rows = (round_row("day", 0), round_row("day", 1, regions=12, pixel_share=0.0125))
    page = Page(html_of(make_report(rounds=rows), tmp_path))
    assert "of thepixels" in page.text
    assert "1.2 %" in page.text
