"""Replays with real trainings on squares: what is asked, shared, kept, and never looked at."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from pipeline import layout
from pipeline.backtest import by_training
from pipeline.backtest.plan import Plan
from pipeline.config.block import parse_block
from pipeline.data.formats.images import save_mask
from pipeline.data.labelled_folder import Example, LabelledSet
from pipeline.errors import ConfigError, DataError, WorkspaceError
from pipeline.files import alone
from pipeline.records.manifest import read_manifest
from pipeline.training.curves import History
from tests.pipeline.conftest import TINY_PARAMS, draw_square

pytestmark = pytest.mark.heavy

PLAN = Plan(strategies=("default", "random"), start=2, rounds=2, query_size=2, seeds=2)
BLOCKS = ("image", "model", "train", "method")


def settings(**train: object) -> by_training.TrainingSettings:
    """Of a training that takes a second."""
    blocks = {name: TINY_PARAMS[name] for name in BLOCKS}
    blocks["train"] = {**TINY_PARAMS["train"], **train}
    blocks["embed"] = {"encoder": "tu-test_efficientnet"}
    # Of so few images this one asks for others than random does.
    blocks["acquire"] = {"strategy": "entropy_k_center"}
    return parse_block(by_training.TrainingSettings, blocks, source="test")


@pytest.fixture
def data(tmp_path: Path) -> LabelledSet:
    """Eight squares to ask for, two to judge by."""
    examples = []
    for number in range(10):
        image_HWC, mask_HW = draw_square(number, 60, 70)
        image, mask = tmp_path / f"set/{number}.png", tmp_path / f"set/masks/{number}.png"
        image.parent.mkdir(exist_ok=True)
        Image.fromarray(image_HWC).save(image)
        save_mask(mask, mask_HW)
        examples.append(Example(name=str(number), domain="day", image=image, mask=mask))
    return LabelledSet(
        classes=("ground", "square", "never"),
        pool=tuple(examples[:8]),
        scored=tuple(examples[8:]),
    )


def new_bench(data: LabelledSet, root: Path) -> by_training.TrainingBench:
    by_training.lay_out(data, root)
    return by_training.TrainingBench(root=root, params=by_training._params(data, settings()))


def kept(cache: Path) -> dict[str, dict[str, list]]:
    """Every replay's file by name."""
    return {file.name: json.loads(file.read_text()) for file in sorted(cache.glob("*/*.json"))}


def test_strategies_share_the_start_and_its_training(
    data: LabelledSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = []
    train = by_training.train_teacher.run
    monkeypatch.setattr(
        by_training.train_teacher,
        "run",
        lambda root, params: (trained.append(params), train(root, params)),
    )
    found = by_training.measure(data, PLAN, settings(), tmp_path / "cache")
    assert found.labels == [2, 4, 6]
    for seed in range(2):
        assert found.curves["default"][seed][0] == found.curves["random"][seed][0]
    assert [len(curve) for by_seed in found.curves.values() for curve in by_seed] == [3] * 4
    assert 0 < found.full_supervision <= 1
    # Two seeds, each: the ceiling, the shared start, two later rounds of two strategies.
    assert len(trained) == 2 * (1 + 1 + 2 * 2)
    seeds = {params.train.seed for params in trained}
    assert len(seeds) == 2 * 3  # a seed's rounds; not its strategies
    for name, replay in kept(tmp_path / "cache").items():
        labelled = [*replay["start"], *replay["asked"]]
        assert len(set(labelled)) == len(labelled), f"{name} asked twice"
        assert len(labelled) == (8 if len(replay["miou"]) == 1 else 6)


def test_finished_rounds_are_not_repeated(
    data: LabelledSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Plan(strategies=("random",), start=2, rounds=1, query_size=2, seeds=1)
    first = by_training.measure(data, plan, settings(), tmp_path / "cache")
    monkeypatch.setattr(by_training.train_teacher, "run", lambda *_: pytest.fail("trained again"))
    assert by_training.measure(data, plan, settings(), tmp_path / "cache") == first
    # How often a training saves its state changes nothing of what comes out.
    again = by_training.measure(data, plan, settings(checkpoint_every_s=7.0), tmp_path / "cache")
    assert again == first


@pytest.mark.parametrize("at", [11, 14], ids=["in round 1", "in the last round"])
def test_a_killed_backtest_goes_on_at_its_step(
    data: LabelledSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    at: int,
) -> None:
    plan = Plan(strategies=("entropy",), start=2, rounds=2, query_size=2, seeds=1)
    asked = settings(checkpoint_every_s=0.0)
    whole = by_training.measure(data, plan, asked, tmp_path / "whole")
    steps = 0
    append = History.append

    def dies(self: History, values) -> None:
        nonlocal steps
        steps += 1
        if steps == at:
            raise KeyboardInterrupt
        append(self, values)

    with monkeypatch.context() as patch:
        patch.setattr(History, "append", dies)
        with pytest.raises(KeyboardInterrupt):
            by_training.measure(data, plan, asked, tmp_path / "killed")
    # Four steps each: the ceiling, round 0, round 1 from step 9 on, round 2 from step 13 on.
    replays = [each for name, each in kept(tmp_path / "killed").items() if "entropy" in name]
    assert [len(each["miou"]) for each in replays] == [(at - 1) // 4 - 1]
    capfd.readouterr()
    assert by_training.measure(data, plan, asked, tmp_path / "killed") == whole
    assert f"resumed at step {(at - 1) % 4}" in capfd.readouterr().err


def test_masks_that_nobody_gave_teach_nothing(data: LabelledSet, tmp_path: Path) -> None:
    bench = new_bench(data, tmp_path / "w")
    start, asked = bench.pool[:2], bench.pool[2:3]
    first = bench.miou(start, asked, 0, 1), bench.query("entropy", PLAN, 0)
    (bench.root / by_training.TRAINED).unlink()
    for name in bench.pool[3:]:
        (bench.root / layout.sample_png(layout.masks_dir("all"), Path(name).name)).write_text("no")
    assert (bench.miou(start, asked, 0, 1), bench.query("entropy", PLAN, 0)) == first
    assert not set(first[1]) & {*start, *asked}
    origins = [sample.origin for sample in read_manifest(bench.root / layout.MANIFEST)]
    assert origins == [*["ground_truth"] * 2, "annotated", *[""] * 5, *["ground_truth"] * 2]


def test_what_judges_steers_no_training(data: LabelledSet, tmp_path: Path) -> None:
    bench = new_bench(data, tmp_path / "w")
    bench.miou(bench.pool, [], 0, 0)
    told = json.loads((bench.root / layout.TEACHER_TRAINING).read_text())
    assert told["labelled"] == 8
    assert told["monitor"] == []
    splits = {s.sample_id: s.split for s in read_manifest(bench.root / layout.MANIFEST)}
    assert splits["all/8"] == splits["all/9"] == "test"


def test_bad_files_are_listed_and_leave_nothing(data: LabelledSet, tmp_path: Path) -> None:
    data.pool[3].mask.write_text("not a mask")
    with pytest.raises(DataError, match=r"masks/3\.png"):
        by_training.measure(data, PLAN, settings(), tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*/workspace"))


def test_regions_and_a_second_backtest_are_refused(data: LabelledSet, tmp_path: Path) -> None:
    regions = Plan(**{**vars(PLAN), "region_px": 16})
    with pytest.raises(ConfigError, match="--fast can ask for regions"):
        by_training.measure(data, regions, settings(), tmp_path)
    asked = settings()
    lock = tmp_path / by_training.key_of(data, asked.embed, asked.image) / ".lock"
    with (
        alone(lock, "ours"),
        pytest.raises(WorkspaceError, match="another backtest is at work"),
    ):
        by_training.measure(data, PLAN, asked, tmp_path)
