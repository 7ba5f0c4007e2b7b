"""The cases of the shift benchmark, and how its table counts."""

from __future__ import annotations

from benchmarks.shift import networks as shift_networks
from benchmarks.shift.pairs import Alternate, row, seq05vd, sequence


def frame(number: int, **columns: str) -> dict[str, str]:
    values = {"id": f"{number}", "sequence": "0016E5", "split": "train", "domain": "day"}
    return values | columns


def test_every_other_block_of_each_sequence() -> None:
    alternate = Alternate()
    first = [alternate(frame(n)) for n in range(45)]
    assert first == [("day_a", "train")] * 20 + [("day_b", "train")] * 20 + [("day_a", "train")] * 5
    assert alternate(frame(0, sequence="0006R0")) == ("day_a", "train")
    assert alternate(frame(0, domain="dusk")) is None
    assert alternate(frame(0, split="test")) is None


def test_the_burst_of_near_duplicates_is_left_out() -> None:
    assert sequence(frame(0, split="val")) is None
    assert sequence(frame(0)) == ("0016e5", "train")
    assert seq05vd(frame(0, split="test")) == ("seq05vd", "test")
    assert seq05vd(frame(0, domain="dusk")) is None


SEED = {
    "verdict": "strong", "proxy_a_distance": [1.5, 1.0, 2.0], "p_value": 0.01, "novelty": 1.2,
    "expected_miou": [0.4, 0.3, 0.5], "source_miou": [0.6, 0.5, 0.7],
    "expected_by_threshold": 0.35, "fall_scale": 0.8,
}  # fmt: skip


def test_a_row_counts_how_often_the_interval_holds_the_truth() -> None:
    found = row("pair", [SEED | {"truth": 0.45}, SEED | {"truth": 0.55}])
    assert found["truth in the interval"] == "1 of 2"
    assert found["off"] == "-15.0 to -5.0"
    assert found["off by thresholds alone"] == "-20.0 to -10.0"
    assert found["scale"] == "0.80 to 0.80"
    assert found["truth"] == "50.0"


def test_networks_have_a_line_each() -> None:
    text = "\n".join(shift_networks.page([SEED | {"truth": 0.45, "seed": 3}]))
    assert "| 3 | 40.0 (30.0 to 50.0) | 45.0 |" in text
    assert "1 of 1" in text
