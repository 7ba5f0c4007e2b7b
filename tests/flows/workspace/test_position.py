from __future__ import annotations

import pytest

from flows.workspace.position import Position, position, round_tags


def at(*tags: str) -> Position | None:
    return position("day", tags)


@pytest.mark.parametrize(
    ("tags", "round_index", "computed"),
    [
        (("day/ingest",), 0, False),
        (("day/ingest", "day/r0"), 0, True),
        (("day/ingest", "day/r0", "day/r0-labels"), 1, False),
        (("day/ingest", "day/r0", "day/r0-labels", "day/r1"), 1, True),
        (("day/ingest", "dusk/ingest", "dusk/r0"), 0, False),  # another domain's tags say nothing
    ],
)
def test_tags_say_where_the_loop_stands(
    tags: tuple[str, ...], round_index: int, computed: bool
) -> None:
    here = at(*tags)
    assert here == Position(domain="day", round_index=round_index, computed=computed)


def test_before_the_first_domain_there_is_no_position() -> None:
    assert position(None, ["day/ingest"]) is None
    assert at("dusk/ingest") is None


def test_round_ten_follows_round_nine() -> None:
    tags = [
        "day/ingest",
        *(f"day/r{k}" for k in range(11)),
        *(f"day/r{k}-labels" for k in range(10)),
    ]
    here = at(*tags)
    assert here is not None
    assert (here.round_index, here.computed) == (10, True)
    assert [index for _, index, _ in round_tags(["day"], tags)] == list(range(11))
