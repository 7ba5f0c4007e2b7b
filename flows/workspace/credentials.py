"""Secrets of one workspace: made once, in a file only its owner can read, never in git."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from pipeline import layout
from pipeline.errors import ServiceError, WorkspaceError
from pipeline.files import replacing
from pipeline.reading import read

SECRETS = layout.PRIVATE / "secrets.json"
PREFECT_TOML = Path("prefect.toml")  # the Prefect server's password is in it
API_KEY_VARIABLE = "LABEL_STUDIO_API_KEY"


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """What .ssl-loop/secrets.json holds."""

    label_studio_email: str
    label_studio_password: str = field(repr=False)
    label_studio_token: str = field(repr=False)
    """Of the Label Studio that `up` starts."""
    webhook_secret: str = field(repr=False)
    prefect_password: str = field(default="", repr=False)
    """Of the Prefect server; empty only in what was written before it had a login."""
    label_studio_api_key: str | None = field(default=None, repr=False)
    """For a Label Studio elsewhere; written by hand, LABEL_STUDIO_API_KEY goes before it."""


def credentials(root: Path) -> Credentials:
    """The workspace's secrets, made on first use; ServiceError when the file cannot be read."""
    keep_private(root)
    path = root / SECRETS
    if not path.exists():
        _write(path, _new())
    remedy = "mend it, or remove it together with .ssl-loop/label-studio to begin with new ones"
    found = read(path, remedy=remedy, error=ServiceError, secret=True).json(Credentials)
    if not found.prefect_password:
        found = replace(found, prefect_password=_new().prefect_password)
        _write(path, found)
    return found


def keep_private(root: Path) -> None:
    """Make .ssl-loop, or close it again: nobody but its owner looks in, whatever the umask was."""
    for path, mode in ((layout.PRIVATE, 0o700), (SECRETS, 0o600), (PREFECT_TOML, 0o600)):
        place = root / path
        if path == layout.PRIVATE:
            place.mkdir(mode=mode, parents=True, exist_ok=True)
        elif not place.exists():
            continue
        if place.stat().st_mode & 0o077:
            try:
                place.chmod(mode)
            except PermissionError:
                raise WorkspaceError(
                    f"{place}: others can look into it and it is not yours; its owner types "
                    f"`chmod {mode:o} {place}`"
                ) from None


def write_private(path: Path, text: str) -> None:
    """Write `text` whole or not at all, readable by its owner alone from the first byte on."""
    with replacing(path) as beside:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)


def api_key(root: Path) -> str:
    """The key for a Label Studio elsewhere; ServiceError saying where to put it."""
    key = os.environ.get(API_KEY_VARIABLE) or credentials(root).label_studio_api_key
    if not key:
        raise ServiceError(
            "annotation.url names a Label Studio elsewhere and there is no key for it; put its "
            f"access token into {API_KEY_VARIABLE}, or as label_studio_api_key into {SECRETS}"
        )
    return key


def _new() -> Credentials:
    return Credentials(
        label_studio_email="ssl-loop@example.com",
        label_studio_password=secrets.token_urlsafe(12),
        label_studio_token=secrets.token_hex(20),  # the 40 characters that it allows
        webhook_secret=secrets.token_urlsafe(24),
        prefect_password=secrets.token_urlsafe(24),
    )


def _write(path: Path, made: Credentials) -> None:
    write_private(path, json.dumps(asdict(made), indent=1))
