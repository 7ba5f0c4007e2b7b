"""DVC's configuration files, read and written by configobj as DVC 3.67.1 does (dvc/config.py).

.dvc/config is in git; .dvc/config.local, with what opens the remotes, is not and goes before it.
DVC's own commands change a workspace's configuration; this reads it in milliseconds where
`dvc config` takes a second, and writes that of a clone.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from configobj import ConfigObj, ConfigObjError, DuplicateError

from flows.workspace.credentials import write_private
from pipeline.errors import ConfigError
from pipeline.reading import AGAIN, IN_GIT, Document, read

CONFIG, LOCAL_CONFIG = Path(".dvc/config"), Path(".dvc/config.local")
# Beyond, configobj's patterns take seconds for one line, of blanks with the cube of their number.
LONGEST_LINE, DEEPEST_INDENT = 2000, 100
_REMOTE = re.compile(r'\s*remote\s*"(.*)"\s*')

RemoteSettings = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class DvcConfig:
    """What the loop uses of DVC's configuration."""

    remotes: dict[str, RemoteSettings]
    """By name; `url` and what the kind of storage needs."""
    default_remote: str | None
    """Where `dvc push` goes; None where that is not set."""
    cache: str | None
    """Folder of the cache, relative to .dvc; None where it is DVC's own."""

    def url(self, remote: str) -> str | None:
        """Address of a remote; None where it has none or is not there."""
        return self.remotes.get(remote, {}).get("url")


def effective(root: Path) -> DvcConfig:
    """What holds in a workspace, the paths of remotes absolute; ConfigError for a damaged file."""
    config = _parsed(root, CONFIG, LOCAL_CONFIG)
    for settings in config.remotes.values():
        url = settings.get("url")
        if url is not None and "://" not in url:
            settings["url"] = str((root / CONFIG.parent / url).resolve())  # DVC's base for paths
    return config


def in_git(root: Path) -> DvcConfig:
    """As the file says that git keeps."""
    return _parsed(root, CONFIG)


def parse(*documents: Document) -> DvcConfig:
    """One or more configuration files, the later over the earlier; ConfigError names the line."""
    merged: dict[str, RemoteSettings] = {}
    for document in documents:
        for name, settings in _sections(document).items():
            merged[name] = {**merged.get(name, {}), **settings}
    named = {found[1]: merged[name] for name in merged if (found := _REMOTE.fullmatch(name))}
    default, cache = merged.get("core", {}).get("remote"), merged.get("cache", {}).get("dir")
    return DvcConfig(remotes=named, default_remote=default, cache=cache)


def lend_storage(config: DvcConfig, target: Path, *, cache: Path | None) -> None:
    """Give a clone these remotes, credentials too, and a cache to share.

    In its .dvc/config.local, since the clone's own state may be older than the remote.
    """
    lent = ConfigObj()
    for name, settings in config.remotes.items():
        lent[f'remote "{name}"'] = settings
    if config.default_remote is not None:
        lent["core"] = {"remote": config.default_remote}
    if cache is not None:
        lent["cache"] = {"dir": str(cache)}
    write_private(target / LOCAL_CONFIG, "".join(f"{line}\n" for line in lent.write()))


def _parsed(root: Path, *names: Path) -> DvcConfig:
    remedies = {CONFIG: IN_GIT, LOCAL_CONFIG: AGAIN}
    there = [name for name in names if (root / name).exists()]
    return parse(*(read(root / name, remedy=remedies[name], error=ConfigError) for name in there))


def _sections(document: Document) -> dict[str, RemoteSettings]:
    """Sections and keys in lower case, as DVC has them."""
    document = replace(document, error=ConfigError, secret=True)
    _refuse_long_lines(document)
    try:
        found = ConfigObj(io.StringIO(document.text())).dict()
    except ConfigObjError as error:  # what it says may quote a secret
        twice = isinstance(error, DuplicateError)
        what = "is there twice" if twice else "expected [SECTION] or KEY = VALUE"
        raise document.wrong(what, error.line_number) from None
    lowered = {name.lower(): _lowered(value) for name, value in found.items()}
    used = {
        name: lowered[name]
        for name in lowered
        if name in ("core", "cache") or _REMOTE.fullmatch(name)
    }
    return document.typed(used, dict[str, RemoteSettings])


def _refuse_long_lines(document: Document) -> None:
    for number, line in enumerate(document.text().splitlines(), start=1):
        indent = len(line) - len(line.lstrip())
        if len(line) > LONGEST_LINE or indent > DEEPEST_INDENT:
            raise document.wrong(
                f"is {len(line)} characters long, indented by {indent}: expected [SECTION] or "
                f"KEY = VALUE, at most {LONGEST_LINE} and {DEEPEST_INDENT}",
                number,
            )


def _lowered(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key.lower(): _lowered(below) for key, below in value.items()}
