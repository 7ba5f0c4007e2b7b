"""Predictions of new images: the loop's pixels, resumed, with what cannot be read named."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline import layout
from pipeline.class_colours import class_colours
from pipeline.data.formats.images import load_image
from pipeline.deploy import folder_run as module
from pipeline.deploy.deployed_model import ModelChoice
from pipeline.deploy.folder_run import Outputs, RunSummary, folder_run
from pipeline.deploy.given_images import files_named
from pipeline.deploy.videos import frames
from pipeline.errors import DataError, WorkspaceError
from pipeline.report.pictures import painted
from pipeline.stages import predict, train_teacher
from tests.pipeline.deploy.conftest import write_video

pytestmark = pytest.mark.heavy  # each trains a tiny network

Run = Callable[..., RunSummary]


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "images.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def written(out: Path) -> dict[str, bytes]:
    return {
        path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*.png"))
    }


def test_the_same_pixels_as_in_the_loop(predicted: Path, images: Path, run: Run, tmp_path) -> None:
    found = run(tmp_path / "out", images, confidence=True)
    assert (found.predicted, found.there_before, found.failed) == (9, 0, [])  # the val images too
    labels = sorted((predicted / layout.PSEUDO_LABELS / "day").glob("*.png"))
    assert len(labels) == 7
    for label in labels:
        assert (tmp_path / "out/masks" / label.name).read_bytes() == label.read_bytes()
        confidence = predicted / layout.CONFIDENCE / "day" / label.name
        assert (tmp_path / "out/confidence" / label.name).read_bytes() == confidence.read_bytes()


@pytest.mark.parametrize(
    "blocks",
    [
        {"predict": {"members": "flips"}},
        {"predict": {"members": "snapshots"}, "train": {"keep_snapshots": True}},
        {"image": {"height_px": 32, "width_px": 32, "scale": 1.0}},
        {"model": {"name": "probe"}},
    ],
    ids=lambda blocks: "-".join(blocks),
)
def test_as_the_loop_asks_its_model(make_workspace, tiny_params, tmp_path: Path, blocks) -> None:
    root, params = make_workspace(3, 3), tiny_params(**blocks)
    train_teacher.run(root, params)
    predict.run(root, params)
    choice = ModelChoice(folder=root / layout.TEACHER, members=params.predict.members)
    with folder_run(choice, Outputs(out=tmp_path / "out", confidence=True)) as running:
        running.take(files_named([str(root / layout.images_dir("day"))]))
    folders = {"masks": layout.PSEUDO_LABELS, "confidence": layout.CONFIDENCE}
    for folder, in_loop in folders.items():
        for file in (root / in_loop / "day").glob("*.png"):
            assert (tmp_path / "out" / folder / file.name).read_bytes() == file.read_bytes()


def test_shares_add_up_and_name_their_classes(images: Path, run: Run, tmp_path: Path) -> None:
    found = run(tmp_path, images / "00.png", images / "03.png")
    assert [Path(row["image"]).name for row in rows(tmp_path)] == ["00.png", "03.png"]
    for row in rows(tmp_path):
        with Image.open(tmp_path / "masks" / f"{row['mask']}.png") as mask:
            mask_HW = np.asarray(mask)
        assert (int(row["height"]), int(row["width"])) == mask_HW.shape == (60, 70)
        for index, name in enumerate(("ground", "square", "never")):
            assert float(row[f"share_{name}"]) == pytest.approx((mask_HW == index).mean(), abs=1e-6)
    assert sum(found.shares.values()) == pytest.approx(1, abs=1e-5)


def test_overlays_are_the_image_with_its_classes(images: Path, run: Run, tmp_path: Path) -> None:
    run(tmp_path, images / "00.png", overlays=True)
    with Image.open(tmp_path / "masks/00.png") as mask:
        expected = painted(load_image(images / "00.png"), np.asarray(mask), class_colours(3))
    np.testing.assert_array_equal(load_image(tmp_path / "overlays/00.png"), expected)


def test_names_are_unique_over_folders_and_stay(images: Path, run: Run, tmp_path: Path) -> None:
    for number, name in enumerate(("a/x.png", "b/x.png", "c/X.png")):
        (tmp_path / name).parent.mkdir()
        shutil.copy(images / f"0{number}.png", tmp_path / name)
    out = tmp_path / "out"
    assert run(out, tmp_path / "b", tmp_path / "c").predicted == 2
    before = {row["image"]: row["mask"] for row in rows(out)}
    assert run(out, *(tmp_path / folder for folder in "abc")).predicted == 1
    names = {row["image"]: row["mask"] for row in rows(out)}
    assert before.items() <= names.items()
    assert [names[str(tmp_path / name)] for name in ("a/x.png", "b/x.png", "c/X.png")] == [
        "a_x",
        "x",
        "c_X",
    ]


def test_a_run_goes_on_where_it_stopped(
    images: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "whole", images, overlays=True)
    writes, count = module.save_classes, 0

    def broken(path: Path, predicted: object) -> None:
        nonlocal count
        count += 1
        if count == 6:
            raise KeyboardInterrupt
        writes(path, predicted)

    monkeypatch.setattr(module, "save_classes", broken)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", images, overlays=True)
    monkeypatch.undo()
    with (tmp_path / "out/images.csv").open("a") as file:
        file.write("/half/a/li")  # the machine died
    found = run(tmp_path / "out", images, overlays=True)
    assert found.predicted + found.there_before == 9
    assert 0 < found.there_before <= 5
    assert written(tmp_path / "out") == written(tmp_path / "whole")
    assert len(rows(tmp_path / "out")) == 9
    assert run(tmp_path / "out", images, overlays=True).there_before == 9
    (tmp_path / "out/overlays/03.png").unlink()
    assert run(tmp_path / "out", images, overlays=True).predicted == 1
    assert written(tmp_path / "out") == written(tmp_path / "whole")


def test_a_changed_image_is_predicted_anew(images: Path, run: Run, tmp_path: Path) -> None:
    image, out = tmp_path / "x.png", tmp_path / "out"
    shutil.copy(images / "00.png", image)
    run(out, image)
    shutil.copy(images / "01.png", image)
    assert run(out, image).predicted == 1
    run(tmp_path / "other", images / "01.png")
    assert (out / "masks/x.png").read_bytes() == (tmp_path / "other/masks/01.png").read_bytes()
    assert len(rows(out)) == 1


def test_what_cannot_be_read_is_named_and_the_rest_goes_on(
    images: Path, run: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    shutil.copytree(images, folder)
    (folder / "02.png").write_bytes((folder / "02.png").read_bytes()[:200])
    (folder / "03.txt").write_text("no image")
    (folder / "04.png").unlink()
    (folder / "04.png").symlink_to("nowhere.png")
    (folder / "film.mp4").write_bytes(b"no video")
    found = run(tmp_path / "out", folder)
    assert found.predicted == 7
    assert not found.good
    why = {Path(each["image"]).name: each["why"] for each in found.failed}
    assert set(why) == {"02.png", "03.txt", "04.png", "film.mp4"}
    assert "damaged or truncated" in why["02.png"]
    assert "not an image" in why["03.txt"]
    assert "nothing (a link to nowhere.png)" in why["04.png"]
    assert "not a video" in why["film.mp4"]
    assert "4 could not be read" in found.in_words()


def test_frames_of_a_video_are_predicted_as_images_are(
    images: Path, run: Run, tmp_path: Path
) -> None:
    shown = [load_image(images / f"0{number}.png")[:, :64] for number in range(6)]
    video = tmp_path / "clip.avi"
    write_video(video, [each for each in shown for _ in range(2)], rate=4.0)  # 3 seconds
    stills = tmp_path / "stills"
    stills.mkdir()
    for frame in frames(video, 1.0, lambda _: False):
        Image.fromarray(frame.pixels_HWC).save(stills / f"{frame.due_s:.0f}.png")
    assert len(list(stills.iterdir())) == 3
    out = tmp_path / "out"
    assert run(out, video).predicted == 3
    run(tmp_path / "of_stills", stills)
    names = [f"clip_{second:05d}.000s" for second in range(3)]
    assert [row["mask"] for row in rows(out)] == names
    for second, name in enumerate(names):
        still = (tmp_path / f"of_stills/masks/{second}.png").read_bytes()
        assert (out / f"masks/{name}.png").read_bytes() == still
    again = run(out, video, every_s=0.5)
    assert (again.predicted, again.there_before) == (3, 3)


def test_a_video_that_ends_early_is_named(images: Path, run: Run, tmp_path: Path) -> None:
    video = tmp_path / "clip.avi"
    write_video(video, [load_image(images / "00.png")[:, :64]] * 40, rate=4.0)
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    found = run(tmp_path / "out", video)
    assert 0 < found.predicted < 10
    assert "of 10.0 s" in found.failed[0]["why"]


def test_another_models_folder_is_refused(images: Path, run: Run, tmp_path: Path) -> None:
    run(tmp_path, images / "00.png")
    run_file = tmp_path / "run.json"
    run_file.write_text(run_file.read_text().replace('"members": "none"', '"members": "flips"'))
    with pytest.raises(WorkspaceError, match=r"another model \(other members\).*--out"):
        run(tmp_path, images / "00.png")
    foreign = tmp_path / "foreign"
    (foreign / "masks").mkdir(parents=True)
    (foreign / "masks/a.png").touch()
    with pytest.raises(WorkspaceError, match=r"masks of somebody else"):
        run(foreign, images / "00.png")


def test_names_that_mean_nothing_are_refused(images: Path) -> None:
    assert [path.name for path in files_named([str(images / "0[12].png")])] == ["01.png", "02.png"]
    with pytest.raises(DataError, match="no file matches it"):
        files_named([str(images / "*.tif")])


def test_without_opencv_videos_are_refused_with_what_to_do(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    (tmp_path / "clip.mp4").touch()
    with pytest.raises(DataError, match="pip install opencv-python-headless"):
        run(tmp_path / "out", tmp_path / "clip.mp4")
