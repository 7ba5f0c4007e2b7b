"""Shift reports in a workspace: beside a domain that waits, taken in with it, never in its way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from flows.cli import main
from flows.domains import shift_on_arrival
from flows.domains.incoming import waiting
from flows.loop import Loop
from flows.tick import tick
from flows.views.round_report import render_report
from pipeline import layout
from pipeline.errors import DataError
from pipeline.files import write_json
from pipeline.shift.comparison import ShiftReport
from tests.flows.conftest import stage_domain

Open = Callable[[Path], Loop]


def small(root: Path) -> None:
    """A network of seconds, not of minutes."""
    from flows.workspace.workspace import Workspace

    encoder = {"encoder": "tu-test_efficientnet"}
    Workspace(root).write_params(
        {
            "image": {"height_px": 32, "width_px": 32},
            "embed": encoder,
            "model": {"name": "pspnet_mini", **encoder},
        }
    )


def planted(**changes: Any) -> dict[str, Any]:
    values = {
        "a": "day",
        "b": "dusk",
        "p_value": 0.001,
        "proxy_a_distance": [1.8, 1.2, 2.0],
        "novelty": 1.3,
        "expected_miou": [0.4, 0.3, 0.5],
        "expected_miou_reason": None,
        "source_miou": [0.5, 0.45, 0.55],
        "num_images": {"a": 30, "b": 6},
        "run_length": 1,
        "truth": None,
        "verdict": "strong",
        "layers": [],
        "most_unlike": [],
        "mode": "workspace",
        "model": "the newest teacher",
        "frechet_distance": 1.0,
        "frechet_within": 0.1,
        "map": {"a": [[0.0, 0.0]], "b": [[1.0, 1.0]]},
        "expected_iou": None,
    }
    return values | changes


def test_a_domain_is_compared_before_it_is_taken_in(toy: Path) -> None:
    small(toy)
    stage_domain(toy, "dusk", pool=7)
    stage_domain(toy, "day", labelled=6, pool=6, val=4)
    import shutil

    from pipeline.records.manifest import read_manifest, write_manifest

    incoming = toy / layout.INCOMING
    shutil.copytree(incoming / "day", toy / layout.DATA / "day")
    write_manifest(toy / layout.MANIFEST, read_manifest(incoming / "day" / "samples.csv"))
    out, page = toy / "out.json", toy / "out.html"
    words = ["shift", "labelled", "dusk", "-w", str(toy), "--json", str(out), "--html", str(page)]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    found = json.loads(out.read_text())
    assert found["verdict"] in ("none", "mild", "strong")
    assert found["num_images"] == {"a": 10, "b": 7}
    assert found["expected_miou"] is None
    assert found["expected_miou_reason"] == "no model is trained yet"
    assert len(found["proxy_a_distance"]) == 3
    assert found["layers"]
    assert "Nothing is said about the mIoU on dusk" in result.output
    assert json.loads((incoming / "dusk.shift.json").read_text()) == found
    assert waiting(toy) == ["dusk", "day"]
    assert "data:image/jpeg" in page.read_text()
    assert "://" not in page.read_text().replace("http://www.w3.org", "")
    for a, b, said in (
        ("day", "night", "domain 'night'"),
        ("day", "day", "twice"),
        ("fog", "dusk", "domain 'fog': not there"),
    ):
        with pytest.raises(DataError, match=said):
            shift_on_arrival.report(toy, a, b)


def test_a_report_goes_into_git_with_its_domain_and_onto_the_page_with_the_truth(
    toy: Path, open_toy: Open
) -> None:
    loop = open_toy(toy)
    stage_domain(toy, "dusk", labelled=2, pool=6, val=2)
    write_json(toy / layout.INCOMING / "dusk.shift.json", planted())
    tick(loop)
    kept = layout.shift_report("dusk")
    assert json.loads(loop.workspace.show("dusk/ingest", kept)) == planted()
    assert not (toy / layout.INCOMING / "dusk.shift.json").exists()
    truths = shift_on_arrival.truth(loop, "dusk")
    assert truths["val images, by the teacher of dusk/r0"] is not None
    assert truths["images drawn at random, each by the teacher of its round"] is None
    page = render_report(loop).read_text()
    assert "A strong shift: dusk is unlike day" in page
    assert "Measured since, on val images, by the teacher of dusk/r0" in page
    assert 'href="shift-dusk.html"' in page
    assert (toy / "report/shift-dusk.html").exists()
    assert loop.workspace.git.run("status", "--porcelain", "--untracked-files=no") == b""


def test_a_domain_that_came_before_a_teacher_is_compared_when_it_is_taken_in(
    toy: Path, open_toy: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage_domain(toy, "day", labelled=2, pool=1, val=1)
    loop = open_toy(toy)
    asked: list[tuple[str, str]] = []

    def report(root: Path, a: str, b: str) -> ShiftReport:
        asked.append((a, b))
        assert "dusk/ingest" not in loop.workspace.tags_merged()
        write_json(root / layout.INCOMING / f"{b}.shift.json", planted())
        return ShiftReport(planted() | {"in_words": ["A strong shift"]}, {})

    monkeypatch.setattr(shift_on_arrival, "report", report)
    loop.workspace.write_params({"loop": {"budget": 0}})
    stage_domain(toy, "dusk", pool=4)
    tick(loop)
    assert asked == [("labelled", "dusk")]
    assert json.loads(loop.workspace.show("dusk/ingest", layout.shift_report("dusk"))) == planted()


def test_a_report_that_comes_late_is_committed_with_the_round(
    toy: Path, open_toy: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage_domain(toy, "day", labelled=2, pool=6)
    loop = open_toy(toy)
    from flows.steps import take_in

    real = take_in.adopt

    def late(loop: Loop, name: str) -> list[Path]:
        found = real(loop, name)
        write_json(toy / layout.INCOMING / f"{name}.shift.json", planted(b="day"))
        return found

    monkeypatch.setattr(take_in, "adopt", late)
    tick(loop)
    assert not loop.workspace.exists_at("day/ingest", layout.shift_report("day"))
    assert loop.workspace.exists_at("day/r0", layout.shift_report("day"))


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), KeyboardInterrupt()])
def test_a_failure_does_not_stand_in_a_domains_way(
    toy: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    stage_domain(toy, "dusk", pool=4)
    write_json(toy / layout.TEACHER / "config.json", {"trained": True})

    def fails(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(shift_on_arrival, "report", fails)
    monkeypatch.setattr(shift_on_arrival, "_reference", lambda root: "labelled")
    said: list[str] = []
    shift_on_arrival.on_arrival(toy, "dusk", said.append)
    assert "The domain dusk waits all the same" in said[-1]
    assert "`ssl-loop shift labelled dusk` makes the report later" in said[-1]
    assert waiting(toy) == ["dusk"]


def test_what_was_said_of_a_domain_is_not_said_again(toy: Path) -> None:
    write_json(toy / layout.TEACHER / "config.json", {"trained": True})
    write_json(toy / layout.INCOMING / "dusk.shift.json", planted())
    said: list[str] = []
    shift_on_arrival.on_arrival(toy, "dusk", said.append)
    assert said == []


def test_without_a_teacher_nothing_is_said(toy: Path) -> None:
    said: list[str] = []
    shift_on_arrival.on_arrival(toy, "dusk", said.append)
    write_json(toy / layout.TEACHER / "config.json", {"trained": False})
    shift_on_arrival.on_arrival(toy, "dusk", said.append)
    assert said == []


def test_a_report_killed_while_it_is_written_leaves_the_old_one(
    toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = toy / layout.INCOMING / "dusk.shift.json"
    write_json(beside, planted())
    before = beside.read_bytes()
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_json(beside, planted(p_value=0.5))
    assert beside.read_bytes() == before
    assert sorted(path.name for path in beside.parent.iterdir()) == ["dusk.shift.json"]
