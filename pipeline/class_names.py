"""What classes may be called: names stand in files, in the tool's interface and on pages."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence

# A label above an image, a column of a table.
MAX_CLASS_NAME = 64
# Control characters, lone surrogates, what Unicode has no meaning for, line and paragraph ends. XML
# and PostgreSQL take few of them, and nobody sees them.
_UNSEEN = ("Cc", "Cs", "Cn", "Co", "Zl", "Zp")
# Invisible too, but part of words in some scripts.
_JOINERS = "\u200c\u200d"


def bad_class_names(names: Sequence[str]) -> list[str]:
    """Complaints, each naming a class; none where all may be called so."""
    bad = [f"{_shown(name)}: {why}" for name in names if (why := _why_bad(name))]
    # The same letters may be written in two ways, which nobody sees.
    times = Counter(unicodedata.normalize("NFC", name) for name in names)
    twice = [name for name, count in times.items() if count > 1]
    return bad + [f"{_shown(name)}: class names must be distinct, got twice" for name in twice]


def _why_bad(name: str) -> str:
    if not name.strip():
        return "a class needs a name that is not blank"
    if name != name.strip():
        return "begins or ends with a blank, which tools cut off"
    if len(name) > MAX_CLASS_NAME:
        return f"{len(name)} characters, expected at most {MAX_CLASS_NAME}"
    for sign in name:
        if unicodedata.category(sign) in _UNSEEN or (
            unicodedata.category(sign) == "Cf" and sign not in _JOINERS
        ):
            return f"has the character U+{ord(sign):04X}, which cannot be seen; leave it out"
    return ""


def _shown(name: str) -> str:
    return ascii(name if len(name) <= MAX_CLASS_NAME else f"{name[:MAX_CLASS_NAME]}...")
