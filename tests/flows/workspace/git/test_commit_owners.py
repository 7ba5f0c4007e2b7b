"""What people commit by hand: refused by name, or taken as answers of their authors."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from db.repository import annotation_versions, events
from db.session import session_scope
from flows.answers.accept_commit import accept_commits
from flows.loop import Loop
from flows.tick import STEPS, tick
from flows.versions.rebuild_ledger import rebuild
from flows.workspace.git.commit_owners import foreign_commits
from flows.workspace.position import Position
from flows.workspace.workspace import Workspace
from pipeline import layout
from pipeline.errors import DataError, WorkspaceError
from pipeline.files import sha256_file
from pipeline.records.manifest import read_manifest, write_manifest
from tests.flows.conftest import CLASSES, SIZE, stage_domain, truth
from tests.support.fake_annotator import FakeAnnotator

Open = Callable[[Path], Loop]


@pytest.fixture(scope="module")
def merged_base(blank_toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """day/r0 merged, day/r1 waits for people; made once."""
    from db.session import open_ledger

    base = tmp_path_factory.mktemp("merged")
    shutil.copytree(blank_toy, base / "workspace", symlinks=True)
    people = FakeAnnotator(base / "tool.json", CLASSES)
    stage_domain(base / "workspace", "day", labelled=2, pool=8)
    loop = Loop(
        workspace=Workspace(base / "workspace"),
        ledger=open_ledger(base / "workspace" / layout.LEDGER),
        log=lambda line: None,
        annotator_factory=lambda *_: people,
    )
    tick(loop)
    for seed, item_id in enumerate(people.open_items()):
        people.answer(item_id, truth(seed))
    assert tick(loop) == "waiting 0/3: 3 open (day/r1)"
    loop.ledger.close()
    return base


@pytest.fixture
def merged(merged_base: Path, tmp_path: Path) -> Path:
    shutil.copytree(merged_base, tmp_path, dirs_exist_ok=True, symlinks=True)
    return tmp_path / "workspace"


def mend(root: Path, *, origin: str = "annotated") -> tuple[str, np.ndarray]:
    """A person paints one mask anew and commits it whole; its sample and the mask."""
    workspace = Workspace(root)
    samples = read_manifest(root / layout.MANIFEST)
    chosen = next(sample for sample in samples if sample.origin == origin)
    mask_HW = np.full(SIZE, 1, dtype=np.uint8)
    Image.fromarray(mask_HW).save(root / chosen.mask)
    mended = replace(chosen, mask_sha256=sha256_file(root / chosen.mask))
    write_manifest(root / layout.MANIFEST, [mended if s == chosen else s for s in samples])
    workspace.dvc("add", "data/day/masks")
    by_hand(workspace, "Mend a mask", "data/manifest.csv", "data/day/masks.dvc")
    return chosen.sample_id, mask_HW


def by_hand(workspace: Workspace, message: str, *paths: str) -> str:
    workspace.git.run("add", "--", *paths)
    anna = ("-c", "user.name=Anna", "-c", "user.email=anna@site")
    workspace.git.run(*anna, "commit", "--quiet", "-m", message)
    return workspace.head()


def mask_of(root: Path, sample_id: str) -> np.ndarray:
    return np.asarray(
        Image.open(root / layout.sample_png(layout.masks_dir("day"), Path(sample_id).name))
    )


def answer_all(people: FakeAnnotator) -> None:
    for seed, item_id in enumerate(people.open_items(), start=20):
        people.answer(item_id, truth(seed))


def test_a_mended_mask_stops_the_loop_and_once_taken_outlives_the_older_answer(
    merged: Path, open_toy: Open, people: FakeAnnotator
) -> None:
    loop = open_toy(merged)
    sample_id, mended = mend(merged)
    revision = loop.workspace.head()
    answer_all(people)
    with pytest.raises(WorkspaceError) as refused:
        tick(loop)
    for named in (
        revision[:10],
        "Anna <anna@site>",
        "data/manifest.csv",
        "data/day/masks.dvc",
        f"ssl-loop commit accept {revision[:10]}",
    ):
        assert named in str(refused.value)
    assert "day/r1-labels" not in loop.workspace.tags_merged()

    assert "1 mask(s) as answers" in accept_commits(loop, ["HEAD"])[0]
    assert foreign_commits(loop.workspace) == []
    assert not tick(loop).startswith("waiting 0/3: 3 open (day/r1)")
    np.testing.assert_array_equal(mask_of(merged, sample_id), mended)
    with session_scope(loop.ledger, read_only=True) as session:
        newest = [a for a in annotation_versions(session) if a.annotator == "Anna <anna@site>"]
        assert [a.item_id.rpartition("/")[0] for a in newest] == [sample_id]
        assert [e.subject for e in events(session, kind="commit_accepted")] == [revision]
    (merged / layout.LEDGER).rename(merged / "old.db")
    again = open_toy(merged)
    rebuild(again)
    with session_scope(again.ledger, read_only=True) as session:
        assert "Anna <anna@site>" in [a.annotator for a in annotation_versions(session)]
        assert [e.subject for e in events(session, kind="commit_accepted")] == [revision]


def test_a_mask_that_came_with_the_domain_is_mended_too(
    merged: Path, open_toy: Open, people: FakeAnnotator
) -> None:
    loop = open_toy(merged)
    sample_id, mended = mend(merged, origin="ground_truth")
    accept_commits(loop, ["HEAD"])
    answer_all(people)
    tick(loop)
    assert "day/r1-labels" in loop.workspace.tags_merged()
    np.testing.assert_array_equal(mask_of(merged, sample_id), mended)


def test_a_later_answer_counts_more_than_the_mend(
    merged: Path, open_toy: Open, people: FakeAnnotator
) -> None:
    loop = open_toy(merged)
    sample_id, _ = mend(merged)
    accept_commits(loop, ["HEAD"])
    answer_all(people)
    people.answer(f"{sample_id}/r0", truth(99))  # stamped by the tool, after the commit
    tick(loop)
    with session_scope(loop.ledger, read_only=True) as session:
        versions = [a for a in annotation_versions(session) if a.item_id == f"{sample_id}/r0"]
    expected = truth(99) if versions[-1].tool_annotation_id > 0 else np.full(SIZE, 1)
    np.testing.assert_array_equal(mask_of(merged, sample_id), expected)


def test_masks_and_manifest_that_disagree_are_not_taken(merged: Path, open_toy: Open) -> None:
    loop = open_toy(merged)
    sample = next(s for s in read_manifest(merged / layout.MANIFEST) if s.origin == "annotated")
    Image.fromarray(np.full(SIZE, 1, dtype=np.uint8)).save(merged / sample.mask)
    loop.workspace.dvc("add", "data/day/masks")
    by_hand(loop.workspace, "Without the manifest", "data/day/masks.dvc")
    with pytest.raises(DataError, match=sha256_file(merged / sample.mask)):
        accept_commits(loop, ["HEAD"])
    assert len(foreign_commits(loop.workspace)) == 1


@pytest.mark.parametrize("name", ["query.csv", "metrics/evaluation.json", "dvc.lock"])
def test_any_file_that_the_loop_keeps_is_guarded_and_a_revert_settles_it(
    merged: Path, open_toy: Open, name: str
) -> None:
    loop = open_toy(merged)
    (merged / name).write_text((merged / name).read_text() + "\n")
    revision = by_hand(loop.workspace, "A hand in it", name)
    with pytest.raises(WorkspaceError, match=rf"{revision[:10]}.*{name}"):
        tick(loop)
    loop.workspace.git.run("revert", "--no-edit", "HEAD")
    assert tick(loop) == "waiting 0/3: 3 open (day/r1)"


def test_commits_to_anything_else_are_peoples_own(merged: Path, open_toy: Open) -> None:
    loop = open_toy(merged)
    workspace = loop.workspace
    (merged / "notes.txt").write_text("dusk is darker")
    workspace.write_params({"train": {"steps": 9}})
    by_hand(workspace, "Notes, and more steps", "notes.txt", "params.yaml")
    workspace.git.run("checkout", "-q", "-b", "side")
    (merged / "notes.txt").write_text("much darker")
    by_hand(workspace, "On the side", "notes.txt")
    workspace.git.run("checkout", "-q", "main")
    workspace.git.run("merge", "-q", "--no-ff", "-m", "Merge side", "side")
    assert foreign_commits(workspace) == []


def test_an_amended_or_picked_commit_of_the_loop_is_no_longer_its_own(
    merged: Path, open_toy: Open
) -> None:
    workspace = open_toy(merged).workspace
    late = ("-c", "user.name=Anna", "-c", "user.email=anna@site")
    (merged / layout.QUERY).write_text("rank\n")
    workspace.commit([layout.QUERY], "The loop's")
    assert foreign_commits(workspace) == []
    workspace.git.run("-c", "core.editor=true", *late, "rebase", "-q", "--force-rebase", "HEAD~1")
    picked = workspace.git.run("log", "-1", "--format=%at %ct").decode().split()
    found = foreign_commits(workspace)
    assert bool(found) == (abs(int(picked[0]) - int(picked[1])) > 1)


def test_workspaces_of_older_versions_go_on(merged: Path, open_toy: Open) -> None:
    """Their commits have no mark: known by what they say."""
    loop = open_toy(merged)
    git = loop.workspace.git
    strip = "sed '/^Committed-by/d'"
    git.run("filter-branch", "-f", "--msg-filter", strip, "--tag-name-filter", "cat", "--", "--all")
    assert b"Committed-by" not in git.run("log", "--format=%B")
    assert tick(loop) == "waiting 0/3: 3 open (day/r1)"
    (merged / layout.QUERY).write_text("rank\n")
    by_hand(loop.workspace, "A hand in it", "query.csv")
    assert [c.subject for c in foreign_commits(loop.workspace)] == ["A hand in it"]


def test_only_what_waits_is_taken(merged: Path, open_toy: Open) -> None:
    loop = open_toy(merged)
    with pytest.raises(WorkspaceError, match="none"):
        accept_commits(loop, [])
    with pytest.raises(WorkspaceError, match="not a commit by hand that waits"):
        accept_commits(loop, ["day/r0"])
    with pytest.raises(WorkspaceError, match="not a commit by hand that waits"):
        accept_commits(loop, ["--exec=nonsense"])


def test_edits_that_are_not_committed_are_named_before_they_are_read_or_lost(
    merged: Path, open_toy: Open, people: FakeAnnotator
) -> None:
    loop = open_toy(merged)
    answer_all(people)
    sample = next(s for s in read_manifest(merged / layout.MANIFEST) if s.origin == "annotated")
    kept = (merged / sample.mask).read_bytes()
    Image.fromarray(np.full(SIZE, 1, dtype=np.uint8)).save(merged / sample.mask)
    with pytest.raises(WorkspaceError, match=sample.mask):
        tick(loop)
    assert np.unique(np.asarray(Image.open(merged / sample.mask))).tolist() == [1]
    (merged / sample.mask).write_bytes(kept)
    manifest = merged / layout.MANIFEST
    manifest.write_text(manifest.read_text().replace("pool", "val", 1))
    with pytest.raises(WorkspaceError, match=r"data/manifest\.csv: edited by hand"):
        tick(loop)


@pytest.mark.parametrize("commits", [True, False])
def test_what_people_do_while_a_tick_runs_is_seen_before_the_next_round_is_computed(
    merged: Path, open_toy: Open, people: FakeAnnotator, commits: bool
) -> None:
    def merge(loop: Loop, here: Position) -> int:
        count = STEPS.merge(loop, here)
        if commits:
            (merged / layout.QUERY).write_text("rank\n")
            by_hand(loop.workspace, "A hand in it", "query.csv")
        else:
            sample = next(s for s in read_manifest(merged / layout.MANIFEST) if s.mask)
            Image.fromarray(np.full(SIZE, 1, dtype=np.uint8)).save(merged / sample.mask)
        return count

    loop = open_toy(merged)
    answer_all(people)
    with pytest.raises(WorkspaceError, match="A hand in it" if commits else "edited by hand"):
        tick(loop, replace(STEPS, merge=merge))
    assert "day/r2" not in loop.workspace.tags_merged()
