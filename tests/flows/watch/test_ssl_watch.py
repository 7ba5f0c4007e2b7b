"""The flow `ssl-watch` on a real Prefect server: one run, one event."""

from __future__ import annotations

from typing import Any

import httpx
from prefect.settings import PREFECT_API_URL
from prefect.testing.utilities import prefect_test_harness

from flows.processes.command import wait_until
from flows.services import prefect_server
from flows.ssl_watch import ssl_watch
from flows.watch import alarm
from tests.flows.watch.conftest import DUSK, Place


def shift_events(url: str) -> list[dict[str, Any]]:
    asked = {"filter": {"event": {"name": [alarm.EVENT]}}}
    found: list[dict[str, Any]] = httpx.post(f"{url}/api/events/filter", json=asked).json()[
        "events"
    ]
    return found


def test_a_run_raises_one_real_event(place: Place) -> None:
    root = place.loop.root
    place.loop.workspace.write_params({"watch": {"folder": "../drop"}})
    place.drop(range(10))
    place.drop(range(10, 25), DUSK)
    with prefect_test_harness(server_startup_timeout=120):
        url = str(PREFECT_API_URL.value()).removesuffix("/api")
        server = prefect_server.Api(url)
        prefect_server.write_settings(root, int(url.rpartition(":")[2]), "not asked for")
        assert "no known domain since new0010.png" in ssl_watch(str(root))
        assert wait_until(lambda: len(shift_events(url)) == 1, 30)
        assert "0 new image(s), 25 in all" in ssl_watch(str(root))
        (shift,) = place.log.shifts
        # As by a watch that was killed after it had posted, and before it noted that.
        alarm.tell(place.loop, place.log, shift)
        place.drop(range(90, 91))
        ssl_watch(str(root))
        prefect_server.emit(server, payload={}, timeout_s=20, event=alarm.EVENT, key="another")
        assert wait_until(lambda: len(shift_events(url)) >= 2, 30)
        said = shift_events(url)
    assert len(said) == 2
    (ours,) = [event for event in said if event["payload"]]
    assert ours["payload"]["since"] == "new0010.png"
    assert ours["payload"]["nearest_domain"] == "day"
    assert ours["resource"]["prefect.resource.id"] == prefect_server.EVENT_RESOURCE
