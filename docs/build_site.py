"""Copy the documentation to where the site is built from: `python -m docs.build_site OUT`.

Pages of docs/ keep their places. What they link to elsewhere in the repository is copied below
`repository/`: Markdown and images as they are, a text file as a page that shows it, a folder as a
list. Links are rewritten to match, so the Markdown needs nothing for the site's sake.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SHOWN = {".py": "python", ".yaml": "yaml", ".toml": "toml", ".json": "json"}
IMAGES = {".svg", ".png"}
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)")
CODE = re.compile(r"(^````.*?^````$|^```.*?^```$|`[^`\n]*`)", re.MULTILINE | re.DOTALL)


def build(out: Path) -> None:
    """Write the pages of docs/ to `out`, and whatever they link to, directly or not."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    shutil.copy(DOCS / "site.css", out)
    waiting, done = sorted(DOCS.rglob("*.md")), set[Path]()
    while waiting:
        source = waiting.pop()
        if source not in done:
            done.add(source)
            waiting += write(source, out / place(source))


def place(source: Path) -> Path:
    """The path of a file or folder of the repository, relative to the site's source."""
    if source.is_relative_to(DOCS) and source != DOCS:
        return source.relative_to(DOCS)
    path = "repository" / source.relative_to(ROOT)
    if source.is_dir():
        return path / "index.md"
    return path if source.suffix in {".md", *IMAGES} else path.with_name(path.name + ".md")


def write(source: Path, target: Path) -> list[Path]:
    """Write one file of the site; the files that it links to."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix in IMAGES:
        shutil.copyfile(source, target)
        return []
    text, linked = markdown(source), list[Path]()
    folder = source if source.is_dir() else source.parent

    def moved(match: re.Match[str]) -> str:
        aim = Path(os.path.normpath(folder / match[1]))
        if not aim.exists():
            raise SystemExit(f"{source.relative_to(ROOT)}: link to {match[1]}, which is not there")
        linked.append(aim)
        return Path(os.path.relpath(place(aim), place(source).parent)).as_posix()

    target.write_text(outside_code(text, lambda prose: LINK.sub(moved, prose)), encoding="utf-8")
    return linked


def markdown(source: Path) -> str:
    """The page that shows a file or folder."""
    name = source.relative_to(ROOT).as_posix()
    if source.is_dir():
        pages = sorted(path.name for path in source.glob("*.md"))
        return f"# {name}\n\n" + "".join(f"- [{page}]({page})\n" for page in pages)
    text = source.read_text(encoding="utf-8")
    if source.suffix == ".md":
        return text
    return f"# {name}\n\n````{SHOWN.get(source.suffix, 'text')}\n{text}````\n"


def outside_code(text: str, change: Callable[[str], str]) -> str:
    """The text with its prose changed; blocks and spans of code stay as they are."""
    parts = CODE.split(text)
    return "".join(part if index % 2 else change(part) for index, part in enumerate(parts))


def main() -> None:
    """Write the source of the site."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    build(parser.parse_args().out)


if __name__ == "__main__":
    main()
