"""The table of the arrival on real services; the run itself is the loop's."""

from __future__ import annotations

from benchmarks.shift.arrival import page


def test_a_line_per_seed_says_how_far_off() -> None:
    said = {
        "verdict": "strong",
        "p_value": 0.0035,
        "source_miou": [0.5, 0.4, 0.6],
        "expected_miou": [0.3, 0.2, 0.4],
        "truth": 0.34,
        "day_labels": 240,
        "steps": 300,
        "network": "pspnet_mini",
        "seed": 0,
    }
    other = said | {"network": "deeplabv3plus", "truth": 0.45}
    text = "\n".join(page({"a": other, "b": said | {"seed": 1}, "c": said}))
    assert (
        text.index("| pspnet_mini | 300 | 0 |") < text.index("| 1 |") < text.index("deeplabv3plus")
    )
    assert "| 0 | strong | 0.0035 | 50.0 | 30.0 (20.0 to 40.0) | 34.0 | -4.0 | yes |" in text
    assert "| 45.0 | -15.0 | no |" in text
