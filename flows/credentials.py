"""Secrets of one workspace: made once, in a file only its owner can read, never in git."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pipeline import layout
from pipeline.errors import ServiceError
from pipeline.files import replacing

SECRETS = layout.PRIVATE / "secrets.json"
API_KEY_VARIABLE = "LABEL_STUDIO_API_KEY"


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """What .ssl-loop/secrets.json holds."""

    label_studio_email: str
    label_studio_password: str = field(repr=False)
    label_studio_token: str = field(repr=False)
    """Of the Label Studio that `up` starts."""
    webhook_secret: str = field(repr=False)
    label_studio_api_key: str | None = field(default=None, repr=False)
    """For a Label Studio elsewhere; written by hand, LABEL_STUDIO_API_KEY goes before it."""


def credentials(root: Path) -> Credentials:
    """The workspace's secrets, made on first use; ServiceError when the file cannot be read."""
    path = root / SECRETS
    if not path.exists():
        _write(path, _new())
    try:
        return Credentials(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ServiceError(
            f"{path}: {error}; mend it, or remove it together with .ssl-loop/label-studio to "
            "begin with new ones"
        ) from None


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
    )


def _write(path: Path, made: Credentials) -> None:
    with replacing(path) as beside:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(asdict(made), file, indent=1)
