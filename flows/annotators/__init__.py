"""Where people annotate: one file per tool and one row here.

Importing this costs nothing: a tool's module is imported when it is first connected.
"""

from __future__ import annotations

from collections.abc import Callable

from flows.annotators.annotator import Annotator


def _label_studio(url: str, api_key: str) -> Annotator:
    from flows.annotators.label_studio import LabelStudio

    return LabelStudio(url, api_key)


ANNOTATORS: dict[str, Callable[[str, str], Annotator]] = {"label_studio": _label_studio}
