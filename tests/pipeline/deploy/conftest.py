"""A tiny trained model and the workspace whose images it learnt from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline import layout
from pipeline.deploy.deployed_model import ModelChoice
from pipeline.deploy.folder_run import Outputs, RunSummary, folder_run
from pipeline.deploy.given_images import files_named
from pipeline.stages import predict, train_teacher
from tests.pipeline.conftest import make_workspace, tiny_params

__all__ = ["make_workspace", "tiny_params"]


@pytest.fixture
def predicted(make_workspace, tiny_params) -> Path:
    """A workspace whose stage predict has run: pseudo-labels of 7 images."""
    root: Path = make_workspace(2, 5)
    train_teacher.run(root, tiny_params())
    predict.run(root, tiny_params())
    return root


@pytest.fixture
def images(predicted: Path) -> Path:
    return predicted / layout.images_dir("day")


@pytest.fixture
def run(predicted: Path) -> Callable[..., RunSummary]:
    """`run(out, *names, overlays=True)`: one run of the teacher."""

    def take(out: Path, *names: Path, **outputs: object) -> RunSummary:
        choice = ModelChoice(folder=predicted / layout.TEACHER)
        with folder_run(choice, Outputs(out=out, **outputs)) as running:  # type: ignore[arg-type]
            running.take(files_named([str(name) for name in names]))
            return running.summary

    return take


def write_video(path: Path, frames_HWC: list[np.ndarray], rate: float) -> None:
    """Motion JPEG, RGB frames."""
    import cv2

    height, width = frames_HWC[0].shape[:2]
    code = cv2.VideoWriter.fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(path), code, rate, (width, height))
    for frame_HWC in frames_HWC:
        writer.write(np.ascontiguousarray(frame_HWC[:, :, ::-1]))
    writer.release()
