"""Makes `prefect deployment run ssl-loop` stand for `ssl-loop/ssl-loop`.

Prefect loads this in every process that sees `plugins.enabled` (a workspace's prefect.toml says so)
and splits deployment names at "/". The hook is its public plugin interface; what the hook changes
is one method of its client, so `ssl-loop/ssl-loop` is the form that needs no plugin.
"""

from __future__ import annotations

from typing import Any

from prefect.plugins import register_hook


class Plugin:
    """Lets a deployment be named without its flow when both are called the same."""

    @register_hook
    def setup_environment(self, *, ctx: Any) -> None:
        """Called by Prefect before its own command runs."""
        from prefect.client.orchestration import PrefectClient

        client: Any = PrefectClient
        read = client.read_deployment_by_name
        if getattr(read, "_knows_short_names", False):
            return

        async def read_deployment_by_name(self: Any, name: str) -> Any:
            return await read(self, name if "/" in name else f"{name}/{name}")

        read_deployment_by_name._knows_short_names = True  # type: ignore[attr-defined]
        client.read_deployment_by_name = read_deployment_by_name


plugin = Plugin()
