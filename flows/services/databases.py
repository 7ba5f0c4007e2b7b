"""The databases of the services that `ssl-loop up` starts, where they are PostgreSQL.

Each is a URL in the environment of `up`, as the ledger's is; unset, a service keeps a SQLite of its
own in .ssl-loop. Neither is ever in a process list: Prefect reads its own in prefect.toml.
"""

from __future__ import annotations

import os

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from pipeline.errors import ConfigError

PREFECT_VARIABLE = "SSL_LOOP_PREFECT_DATABASE_URL"
LABEL_STUDIO_VARIABLE = "SSL_LOOP_LABEL_STUDIO_DATABASE_URL"
_PORT = 5432


def prefect_database() -> str | None:
    """The URL by which Prefect's server connects, None without one; ConfigError for no URL."""
    url = _url(PREFECT_VARIABLE)
    if url is None:
        return None
    return url.set(drivername="postgresql+asyncpg").render_as_string(hide_password=False)


def label_studio_database() -> dict[str, str]:
    """Label Studio's own settings for its database, {} without one; ConfigError for no URL."""
    url = _url(LABEL_STUDIO_VARIABLE)
    if url is None:
        return {}
    host = url.host or url.query.get("host", "localhost")
    settings = {
        "DJANGO_DB": "default",  # its word for PostgreSQL
        "POSTGRE_HOST": host if isinstance(host, str) else host[0],
        "POSTGRE_PORT": str(url.port or _PORT),
        "POSTGRE_NAME": url.database or "",
        "POSTGRE_USER": url.username or "",
        "POSTGRE_PASSWORD": url.password or "",
    }
    return {f"LABEL_STUDIO_{name}": value for name, value in settings.items()}


def _url(variable: str) -> URL | None:
    text = os.environ.get(variable)
    if not text:
        return None
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        url = None
    if url is not None and "user" in url.query:
        user = url.query["user"]
        url = url.difference_update_query(["user"]).set(
            username=user if isinstance(user, str) else user[0]
        )
    if url is None or url.get_backend_name() != "postgresql" or not (url.database and url.username):
        raise ConfigError(  # without the text: a password may be in it
            f"${variable}: no address of a PostgreSQL database, expected "
            "postgresql://USER:PASSWORD@HOST:PORT/NAME"
        )
    return url
