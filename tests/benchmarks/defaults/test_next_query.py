"""The wait between two queries is told with the steps of the last round alone."""

from __future__ import annotations

from benchmarks.defaults.next_query import report


def test_the_last_round_alone_is_shown() -> None:
    steps = [
        {"done": name, "seconds": seconds}
        for name, seconds in [
            ("merged", 9.0),
            ("stage_completed predict", 40.0),
            ("sealed", 2.0),
            ("published", 1.0),
            ("merged", 10.4),
            ("stage_completed predict", 22.6),
            ("published", 1.1),
        ]
    ]
    text = report({"images": 300, "profile": "quick", "waits": [69.4, 57.6], "steps": steps})
    assert "Waits: 69 s, 58 s; wanted: under 60 s with a probe." in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert rows[0] == "| done | seconds |"
    assert [row.split(" | ")[0] for row in rows[1:]] == [
        "| sealed",
        "| published",
        "| merged",
        "| stage_completed predict",
        "| published",
    ]
