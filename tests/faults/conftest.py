from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.place import Place, open_place
from tests.support.label_studio_server import label_studio_template


@pytest.fixture(scope="session")
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """One Label Studio, one proxy, two workspaces to copy, for all tests of faults."""
    template = label_studio_template(request)
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("LABEL_STUDIO_API_KEY", raising=False)  # put back at the end
        with open_place(template, tmp_path_factory.mktemp("faults")) as opened:
            yield opened
