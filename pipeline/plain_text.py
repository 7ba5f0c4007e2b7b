"""Text from outside, so that every file, database and terminal can hold it."""

from __future__ import annotations


def plain(text: str, limit: int | None = None) -> str:
    """The text with what is not printable as escapes (`\\x00`, `\\ud800`), cut at `limit`.

    PostgreSQL holds no NUL, UTF-8 no lone surrogate, and a log no control characters.
    """
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return shown if limit is None or len(shown) <= limit else f"{shown[: limit - 3]}..."
