"""The docs name what the code has, and only that."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from db.tables import Base, ItemState, QuerySource, Verdict
from pipeline import layout
from pipeline.config.params import Params
from pipeline.methods import METHODS
from pipeline.methods.catalogue import Entry, entries
from pipeline.methods.shared.feature_perturbations import FEATURE_PERTURBATIONS
from pipeline.methods.shared.mixing import MIXES
from pipeline.types import SPLITS
from tests.support import reference_page

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
RESULTS = sorted((ROOT / "benchmarks/results").glob("*.md"))
LINKING = [*PAGES, *RESULTS, ROOT / "tests/mutations.md"]
GLOSSARY = ROOT / "docs/glossary.md"
ARCHITECTURE = ROOT / "docs/architecture.md"
METHODS_PAGE = ROOT / "docs/methods/index.md"
METHODS_PAGES = sorted((ROOT / "docs/methods").glob("*.md"))
WORDS = """
    workspace domain round budget tick evidence stage step flow task sample ignore manifest split
    pool labelled unlabelled candidates origin query source embedding pre-annotation annotator
    annotation version supersede settled missing inbox incoming sequence merge baseline student
    teacher pseudo-label reliable checkpoint measurement ledger fact event tag campaign block
    novelty watch suspicion snapshot monitor guard remote backup restore invariant finding lineage
"""
PHRASES = (
    "domain shift, shift report, query item, audit share, cold start, ground truth, lead time, "
    "reliable share, stopping rule, stop set, simulated annotator, refused round, "
    "not yet measurable"
)


@cache
def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def everything() -> str:
    return "\n".join(text(path) for path in PAGES)


def named() -> list[str]:
    """Every name that people may write: in backticks somewhere in the docs."""
    rows = [*reference_page.stages(), *reference_page.commands(), *reference_page.params()]
    rows += [row for table in reference_page.TABLES for row in reference_page.rows(table)]
    return [row[0] for row in rows] + [f"`{table}`" for table in reference_page.TABLES]


@pytest.mark.parametrize("name", named())
def test_every_name_is_documented(name: str) -> None:
    assert name in everything(), f"{name}: write it into the docs (tests/support/reference_page.py)"


def test_the_reference_is_the_codes() -> None:
    assert text(reference_page.PAGE) == reference_page.render(), (
        "docs/reference.md is old: python -m tests.support.reference_page"
    )


def test_every_knob_says_what_it_means() -> None:
    silent = [row[0] for row in reference_page.params() if not row[3]]
    assert silent == []
    assert len(reference_page.params()) > 30


@pytest.mark.parametrize("block", Params.model_fields)
def test_every_block_of_params_is_in_the_reference(block: str) -> None:
    assert re.search(rf"^\| `{block}[.`]", reference_page.render(), re.MULTILINE)


def glossary_terms() -> list[str]:
    return re.findall(r"\*\*([^*]+)\*\*", text(GLOSSARY))


@pytest.mark.parametrize("word", [*WORDS.split(), *PHRASES.split(", ")])
def test_the_glossary_has_the_words(word: str) -> None:
    assert word in glossary_terms()


def test_a_word_has_one_meaning() -> None:
    terms = glossary_terms()
    assert sorted(terms) == sorted(set(terms))


@pytest.mark.parametrize("value", [*Verdict, *QuerySource, *SPLITS])
def test_values_that_people_see_are_in_the_glossary(value: str) -> None:
    assert f"`{value}`" in text(GLOSSARY) or f"**{value}**" in text(GLOSSARY)


@pytest.mark.parametrize("state", [state for state in ItemState if state.settled])
def test_what_settles_an_item_is_explained(state: ItemState) -> None:
    assert state.value.replace("_", " ") in text(GLOSSARY)


@pytest.mark.parametrize("table", Base.metadata.tables)
def test_the_architecture_draws_every_table(table: str) -> None:
    assert re.search(rf"\b{table}\b", text(ARCHITECTURE).split("## The ledger")[1])


@pytest.mark.parametrize(
    "path", [value for value in vars(layout).values() if isinstance(value, Path)], ids=str
)
def test_the_architecture_lists_every_file_of_a_workspace(path: Path) -> None:
    section = text(ARCHITECTURE).split("## Files of a workspace")[1]
    assert f"`{path}" in section or f"`{path.as_posix()}/" in section


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_the_docs_name_are_there(page: Path) -> None:
    paths = re.findall(r"`((?:pipeline|db|flows|tests|docs|benchmarks)/[\w./-]*)`", text(page))
    assert [path for path in paths if not (ROOT / path).exists()] == []


def prose(page: Path) -> str:
    """The page without its code, where brackets are no links."""
    return re.sub(r"^```.*?^```$|`[^`\n]*`", "", text(page), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """What `#...` may name in a page: each heading's words, joined by hyphens."""
    outside = re.sub(r"^```.*?^```$", "", text(page), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", outside, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", LINKING, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    own = [link.partition("#") for link in links if not re.match(r"\w+:", link)]
    places = [(page.parent / path if path else page, anchor) for path, _, anchor in own]
    assert [path for path, _ in places if not path.exists()] == []
    assert [place for place in places if place[1] and place[1] not in anchors(place[0])] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_labelled_is_spelt_the_british_way(page: Path) -> None:
    lines = [line for line in text(page).splitlines() if re.search(r"label(ed|ing)\b", line)]
    # The glossary names the other spelling once, to say so.
    assert [line for line in lines if page != GLOSSARY] == []


def of_the_methods() -> str:
    return "\n".join(text(page) for page in METHODS_PAGES)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_its_section_and_every_option_its_place(name: str) -> None:
    sections = re.split(r"^## ", of_the_methods(), flags=re.MULTILINE)
    found = [section for section in sections if section.startswith(f"`{name}` (")]
    assert len(found) == 1, f"{name}: write ## `{name}` (Paper, year) into docs/methods/<family>.md"
    module = METHODS[name].__module__.replace(".", "/")
    assert re.search(r"^```\n(.*\n)*?.*\bL(_\w+)? +=(.*\n)*?```$", found[0], re.MULTILINE)
    assert f"code: `{module}.py`" in found[0]
    options = METHODS[name].options_type.model_fields
    assert [key for key in options if not re.search(rf"`(options\.)?{key}[`:]", found[0])] == []


@pytest.mark.parametrize("method", entries(), ids=lambda method: method.name)
def test_the_comparison_says_what_the_code_does(method: Entry) -> None:
    rows = re.findall(rf"^\| \[`{method.name}`\]\(.*$", text(METHODS_PAGE), re.MULTILINE)
    assert len(rows) == 1, f"{method.name}: give it a row in docs/methods/index.md"
    cells = [cell.strip() for cell in rows[0].strip("|").split("|")]
    assert cells[3] == ("teacher" if method.averaged_teacher else "student")
    assert cells[4] == str(method.strong_views)


@pytest.mark.parametrize("name", [*MIXES, *FEATURE_PERTURBATIONS])
def test_every_perturbation_has_its_row(name: str) -> None:
    assert re.search(rf"^\| `{name}` \|", of_the_methods(), re.MULTILINE)
