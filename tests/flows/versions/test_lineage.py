"""Lineage both ways, against what is recomputed from git's history by other means."""

from __future__ import annotations

import csv
import json
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flows.loop import Loop
from flows.processes.command import child_environment
from flows.versions.find_models import folder_hash, models_named
from flows.versions.lineage import lineage_of_models, lineage_of_sample
from flows.versions.lineage_text import in_words
from flows.workspace.dvc.dvc_cache import cache_of, outs_at
from flows.workspace.workspace import Workspace
from pipeline import layout
from pipeline.errors import DataError, ModelError, WorkspaceError
from pipeline.files import sha256_file
from tests.flows.conftest import Campaign

Open = Callable[[Path], Loop]
ROUNDS = ("day/r0", "day/r1", "dusk/r0")


@pytest.fixture(scope="module")
def recomputed(
    campaign: Campaign, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[dict[str, object]]]:
    """`tag -> what its models were trained on`, from files checked out by git and DVC alone."""
    root = campaign.copy(tmp_path_factory.mktemp("history"))
    found = {}
    for tag in ROUNDS:
        for command in (["git", "checkout", "-q", tag], ["dvc", "checkout", "-q"]):
            subprocess.run(command, cwd=root, check=True, env=child_environment())
        found[tag] = [
            label(root, row) for row in rows(root) if row["split"] == "pool" and row["mask"]
        ]
    return found


def rows(root: Path) -> list[dict[str, str]]:
    with (root / "data/manifest.csv").open() as file:
        return list(csv.DictReader(file))


def label(root: Path, row: dict[str, str]) -> dict[str, object]:
    stem = Path(row["image"]).stem
    folder = root / "data" / row["domain"] / "annotations" / stem
    records = [json.loads(path.read_text()) for path in sorted(folder.rglob("*-accepted.json"))]
    assert sha256_file(root / row["mask"]) == row["mask_sha256"]
    if not records:
        assert row["origin"] == "ground_truth"
        return {"sample_id": row["sample_id"], "mask_sha256": row["mask_sha256"]}
    (record,) = [r for r in records if r["mask_sha256"] == row["mask_sha256"]]
    return {
        "sample_id": row["sample_id"],
        "mask_sha256": row["mask_sha256"],
        "annotation_sha256": record["raw_sha256"],
        "annotator": record["annotator"],
        "when": datetime.fromisoformat(record["updated_at"]).astimezone(UTC).isoformat(),
        "asked_in": f"{row['domain']}/{record['item_id'].rsplit('/', 1)[1]}",
        "lead_time_s": record["lead_time_s"],
    }


@pytest.mark.parametrize("tag", ROUNDS)
def test_a_models_annotations_are_those_of_gits_history(
    tag: str, shifted: Path, open_toy: Open, recomputed: dict[str, list[dict[str, object]]]
) -> None:
    loop = open_toy(shifted)
    found = lineage_of_models(loop, models_named(loop, tag))
    assert (found.witness, found.agree, found.differences) == ("ledger", True, ())
    plain = [{k: v for k, v in asdict(one).items() if v is not None} for one in found.labels]
    assert plain == sorted(recomputed[tag], key=lambda one: str(one["sample_id"]))


def test_without_a_ledger_git_alone_says_the_same(
    shifted: Path, open_toy: Open, recomputed: dict[str, list[dict[str, object]]]
) -> None:
    for file in shifted.glob(".ssl-loop/ledger.db*"):
        file.unlink()
    loop = open_toy(shifted)
    found = lineage_of_models(loop, models_named(loop, "day/r1"))
    assert (found.witness, found.agree) == ("git", None)
    assert len(found.labels) == len(recomputed["day/r1"]) == 4
    assert lineage_of_sample(loop, "day/img003").agree is None


def test_every_model_that_saw_an_image(shifted: Path, open_toy: Open) -> None:
    loop = open_toy(shifted)
    answered = lineage_of_sample(loop, "day/img003")
    assert answered.agree
    seen = [(one.tag, one.kind, one.role) for one in answered.sightings]
    assert seen == [
        ("day/r0", "teacher", "unlabelled"),
        ("day/r1", "baseline", "labelled"),
        ("day/r1", "teacher", "labelled"),
        ("dusk/r0", "baseline", "labelled"),
        ("dusk/r0", "teacher", "labelled"),
    ]
    cache = cache_of(loop.workspace)
    for one in answered.sightings:  # what the training itself wrote down
        outs = {out.path: out for out in outs_at(loop.workspace.git, one.tag)}
        files = cache.files(outs[f"models/{one.kind}"]) or {}
        config = cache.object(files[f"models/{one.kind}/config.json"])
        on = json.loads(config.read_text())["on"]
        assert on.get("day/img003") == one.mask_sha256
    (val,) = [
        s.sample_id for s in loop.workspace.manifest() if s.domain == "day" and s.split == "val"
    ]
    assert {one.role for one in lineage_of_sample(loop, val).sightings} == {"judged"}
    with pytest.raises(DataError, match=r"near it: .*day/img003"):
        lineage_of_sample(loop, "day/img03")


def test_a_ledger_that_differs_is_said_and_git_is_believed(shifted: Path, open_toy: Open) -> None:
    with sqlite3.connect(shifted / layout.LEDGER) as ledger:  # behind its back
        ledger.execute("UPDATE annotation SET annotator = 'mallory' WHERE verdict = 'accepted'")
    ledger.close()
    loop = open_toy(shifted)
    found = lineage_of_models(loop, models_named(loop, "day/r1"))
    assert (found.witness, found.agree) == ("git", False)
    assert {one.annotator for one in found.labels} == {None, "people@example.com"}
    assert "THE LEDGER AND GIT'S HISTORY DIFFER" in in_words(found)
    assert "mallory" in in_words(found)


def test_models_are_named_by_tag_hash_or_folder(
    shifted: Path, open_toy: Open, tmp_path: Path
) -> None:
    loop = open_toy(shifted)
    both = models_named(loop, "day/r1")
    assert [model.kind for model in both] == ["baseline", "teacher"]
    assert models_named(loop, "day/final") == both
    assert models_named(loop, "dusk/ingest") == both  # those that lie there
    teacher = both[1]
    assert models_named(loop, teacher.weights) == [teacher]
    assert models_named(loop, teacher.weights[:8]) == [teacher]
    now = models_named(loop, str(layout.TEACHER))
    assert [model.tag for model in now] == ["dusk/r0"] or now == [teacher]
    shutil.copytree(shifted / layout.TEACHER, tmp_path / "elsewhere")
    assert models_named(loop, str(tmp_path / "elsewhere")) == now
    assert folder_hash(tmp_path / "elsewhere") == now[0].weights
    weights = tmp_path / "elsewhere/model.safetensors"
    assert models_named(loop, sha256_file(weights)) == now
    weights.write_text("other")
    with pytest.raises(ModelError, match="no round"):
        models_named(loop, str(tmp_path / "elsewhere"))
    with pytest.raises(ModelError, match="no model of this workspace has this hash"):
        models_named(loop, "abcdef012345")
    with pytest.raises(ModelError, match="no round was computed by then"):
        models_named(loop, "day/ingest")
    with pytest.raises(WorkspaceError, match="near it"):
        models_named(loop, "day/r9")
    assert Workspace(shifted).git.run("status", "--porcelain") == b""
