"""The source of the documentation site: every page, with links that hold where it is built."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from docs import build_site

ROOT = Path(__file__).parents[2]
NAV = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]["nav"]


def named(nav: Any) -> Iterator[str]:
    """The pages of the site's menu."""
    if isinstance(nav, str):
        yield nav
    else:
        for entry in nav.values() if isinstance(nav, dict) else nav:
            yield from named(entry)


def test_the_menu_names_every_page_once() -> None:
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert sorted(named(NAV)) == sorted(pages)


def test_links_hold_where_the_site_is_built(tmp_path: Path) -> None:
    build_site.build(tmp_path / "source")
    pages = sorted((tmp_path / "source").rglob("*.md"))
    assert tmp_path / "source/repository/flows/tick.py.md" in pages
    broken = []
    for page in pages:
        prose = build_site.CODE.sub("", page.read_text(encoding="utf-8"))
        links = [match[1] for match in build_site.LINK.finditer(prose)]
        broken += [(page, link) for link in links if not (page.parent / link).is_file()]
    assert broken == []


@pytest.mark.parametrize("link", ["[a](nowhere.md)", "![a](images/nowhere.png)", "[`a`](../no.py)"])
def test_a_broken_link_ends_the_build(
    link: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "site.css").touch()
    (docs / "index.md").write_text(f"# A page\n\n{link}\n")
    monkeypatch.setattr(build_site, "ROOT", tmp_path)
    monkeypatch.setattr(build_site, "DOCS", docs)
    with pytest.raises(SystemExit, match=re.escape("docs/index.md: link to")):
        build_site.build(tmp_path / "source")


def test_code_is_left_as_it_is() -> None:
    text = "[a](b)\n\n```\n[a](b)\n```\n\nand `[a](b)`\n"
    changed = build_site.outside_code(text, lambda prose: prose.replace("(b)", "(c)"))
    assert changed == "[a](c)\n\n```\n[a](b)\n```\n\nand `[a](b)`\n"
