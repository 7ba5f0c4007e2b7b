"""ssl-loop for Python programs; the command `ssl-loop` is for people.

    import ssl_loop

    model = ssl_loop.load_model("models/teacher")
    for path, classes_HW in ssl_loop.predict(model, ["photos"]):
        ...

`import ssl_loop` loads nothing: torch comes with the first model, git and DVC with the first
workspace. All errors that somebody can mend are `ssl_loop.SslLoopError`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from flows.workspace.workspace import Workspace
    from pipeline.backtest.plan import Plan as BacktestPlan
    from pipeline.backtest.run import BacktestRequest
    from pipeline.deploy.deployed_model import DeployedModel
    from pipeline.errors import SslLoopError
    from pipeline.planning.plan_rules import Profile
    from pipeline.planning.training_plan import TrainingPlan

__all__ = [
    "BacktestPlan",
    "BacktestRequest",
    "DeployedModel",
    "PredictedMask",
    "SslLoopError",
    "TrainingPlan",
    "Workspace",
    "backtest",
    "load_model",
    "plan",
    "predict",
]
_ELSEWHERE = {
    "BacktestPlan": ("pipeline.backtest.plan", "Plan"),
    "BacktestRequest": ("pipeline.backtest.run", "BacktestRequest"),
    "DeployedModel": ("pipeline.deploy.deployed_model", "DeployedModel"),
    "SslLoopError": ("pipeline.errors", "SslLoopError"),
    "TrainingPlan": ("pipeline.planning.training_plan", "TrainingPlan"),
    "Workspace": ("flows.workspace.workspace", "Workspace"),
}


def __getattr__(name: str) -> Any:
    if name not in _ELSEWHERE:
        raise AttributeError(f"ssl_loop has no {name!r}, expected one of {', '.join(__all__)}")
    from pipeline.runtime.torch_settings import settle_torch

    settle_torch()
    module, called = _ELSEWHERE[name]
    return getattr(import_module(module), called)


def __dir__() -> list[str]:
    return __all__


class PredictedMask(NamedTuple):
    """What a model says about one image file."""

    path: Path
    """Absolute."""
    classes_HW: NDArray[np.uint8]
    """Index of the likeliest class of every pixel, at the image's own size; names in
    `model.classes`."""


def load_model(
    name: str | Path, workspace: str | Path = ".", *, device: str = "auto"
) -> DeployedModel:
    """A trained model by its folder, or by a tag of a workspace such as `day/r1`: its teacher.

    The work tree stays as it is. `device` as train.device of params.yaml. ModelError where there
    is no trained model, WorkspaceError with near tags for an unknown name.
    """
    from pipeline.runtime.torch_settings import settle_torch

    settle_torch()
    from flows.deploy.named_model import named_model
    from pipeline.deploy.deployed_model import DeployedModel, ModelChoice

    with named_model(str(name), Path(workspace)) as found:
        return DeployedModel(ModelChoice(folder=found.folder, members=found.members, device=device))


def predict(model: DeployedModel, images: Sequence[str | Path]) -> Iterator[PredictedMask]:
    """The mask of each image in files, folders and globs, sorted by path: the loop's own pixels.

    Large images are seen in tiles. DataError for an image that cannot be read, and for a video
    (`ssl-loop predict` takes those).
    """
    from pipeline.runtime.torch_settings import settle_torch

    settle_torch()
    from pipeline.data.dataset import seen_image
    from pipeline.deploy.deployed_model import ShownImage
    from pipeline.deploy.given_images import files_named, images_of, is_video
    from pipeline.errors import DataError

    for path in files_named([str(each) for each in images]):
        if is_video(path):
            raise DataError(f"{path}: a video; `ssl-loop predict` takes frames of it")
        for given in images_of(path, 1.0, lambda *_: False):
            size, pixels_CHW = seen_image(given.strips(), model.image)
            ((_, found),) = model.predictions([(ShownImage(given, size), pixels_CHW)])
            yield PredictedMask(path, found.whole.classes_HW)


def plan(workspace: str | Path = ".", profile: Profile | None = None) -> TrainingPlan:
    """What the loop would train in a workspace and how, with a reason for each choice.

    `profile`: quick, balanced or best; None: as params.yaml says. Nothing is written.
    """
    from flows.domains.plan_ahead import plan_ahead
    from flows.workspace.workspace import Workspace

    return plan_ahead(Workspace(Path(workspace)), profile=profile)


def backtest(request: BacktestRequest) -> dict[str, Any]:
    """Replay the loop on a labelled folder: does choosing images pay there?

    The result is what `ssl-loop backtest --json` writes; finished replays are not repeated.
    """
    from pipeline.runtime.torch_settings import settle_torch

    settle_torch()
    from pipeline.backtest.run import run

    return run(request)
