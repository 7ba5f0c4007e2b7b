from __future__ import annotations

import pytest

from pipeline.runtime.side_work import SideWork


def test_work_on_large_images_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SideWork, "MOST_PIXELS", 10)
    with SideWork[dict[str, int]]() as beside:
        assert beside.start(lambda: [{"of": 1}], 4) == []
        assert beside.start(lambda: [{"of": 2}], 4) == []
        assert beside.start(lambda: [{"of": 3}], 4) == [{"of": 1}]
        assert beside.start(lambda: [{"of": 4}], 11) == [{"of": 2}, {"of": 3}, {"of": 4}]
        assert beside.rest() == []
