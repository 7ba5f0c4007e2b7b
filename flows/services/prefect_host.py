"""The Prefect server of one workspace: on loopback, for requests under its own name only.

`python -m flows.services.prefect_host --port N`, in the workspace: prefect.toml there says the
rest. Prefect answers whatever name it is asked under, so a page of a stranger's domain that is
pointed to this machine would be of the server's own origin in a browser; that name is what is
refused here.
"""

from __future__ import annotations

import argparse
import sys

from flows.services.daemon import HOST
from flows.services.prefect_server import OWN_HOSTS


def main() -> int:
    """Serve until ended."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.services.prefect_host", description=__doc__
    )
    parser.add_argument("--port", type=int, required=True)
    args = parser.parse_args()

    import uvicorn
    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    server = get_current_settings().server
    if not server.api.auth_string:
        print("no prefect.toml with a login here; `ssl-loop up` writes it", file=sys.stderr)
        return 2
    uvicorn.run(
        TrustedHostMiddleware(create_app(final=True), allowed_hosts=list(OWN_HOSTS)),
        host=HOST,
        port=args.port,
        timeout_keep_alive=server.api.keepalive_timeout,
        log_level=server.logging_level.lower(),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
