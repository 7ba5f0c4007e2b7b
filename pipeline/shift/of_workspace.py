"""Shift report of a workspace: its frozen encoder, and its teacher where there is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from pipeline import layout
from pipeline.config.params import Params
from pipeline.inference.logits import pick_device
from pipeline.models import LoadedModel, load_model, settled
from pipeline.models.checkpoint import load_beside
from pipeline.shift.channel_statistics import layer_distances
from pipeline.shift.comparison import ModelSays, Setting, Side, compare, val_runs
from pipeline.shift.corruption_calibration import (
    Rehearsal,
    altered_each_way,
    directions,
    parted,
    rehearse,
)
from pipeline.shift.forward import (
    Picture,
    Preprocessing,
    answered,
    embedded,
    frozen_encoder,
    layer_moments,
    thinned,
    watched,
)
from pipeline.shift.predictions import Predictions, pixels_per_image, with_classes
from pipeline.shift.time_blocks import Runs, run_length, runs_of

MOST = 300  # images of a domain, evenly: more change no verdict, and this is a minute on two cores


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The images of both domains."""

    a: str
    b: str
    known: Sequence[Picture]
    """Of `a`; not empty."""
    val: Sequence[Picture]
    """Of `a`, with masks that no model learnt from; may be empty."""
    target: Sequence[Picture]
    """Of `b`, without masks; not empty."""
    run_length: int | None = None
    """Images that count as one; None: as found."""


class Shown(NamedTuple):
    """The images on which a model predicts."""

    known: Sequence[Picture]
    """With masks where there are any."""
    target: Sequence[Picture]
    tried: Sequence[Picture]
    """As of `altered_each_way`; may be empty."""
    run_length: int


def shift(root: Path, params: Params, asked: Asked) -> dict[str, Any]:
    """The report as JSON; without a trained model, the part that needs embeddings alone."""
    model = load_model(root / layout.TEACHER) if (root / layout.TEACHER).exists() else None
    device = pick_device(params.train.device)
    normalisation = settled(params.embed).normalisation
    preprocessing = Preprocessing(params.image, normalisation, device, tiles=False)
    encoder = frozen_encoder(params.embed, device)
    known, target = thinned(asked.known, MOST), thinned(asked.target, MOST)
    sides = [
        Side(
            name=name,
            sample_ids=[each.sample_id for each in pictures],
            embeddings_NE=embedded(encoder, pictures, preprocessing, f"embed {name}"),
        )
        for name, pictures in ((asked.a, known), (asked.b, target))
    ]
    length = asked.run_length or run_length([side.embeddings_NE for side in sides])
    val = thinned(asked.val, MOST)
    setting = Setting(
        classes=params.classes,
        model="the newest teacher" if model and model.trained else "",
        no_estimate=_why_no_estimate(model, val, asked.a),
        run_length=length,
        mode="workspace",
    )
    network, says = encoder, None
    if model and model.network:
        network = model.network.to(device)
        shown = Shown(val or known, target, altered_each_way(val), length)
        ways = {}
        if shown.tried:
            tried_NE = embedded(encoder, shown.tried, preprocessing, "embed altered images")
            ways = directions(sides[0].embeddings_NE, sides[1].embeddings_NE, tried_NE)
        preprocessing = Preprocessing(
            model.image, model.config["normalisation"], device, tiles=True
        )
        networks = network, _other(root, model, network)
        says = _model_says(networks, shown, preprocessing, ways, params.num_classes)
    a, b = sides
    layers = _layers(network, known, target, preprocessing, runs_of(len(known), length))
    return compare(a, b, says, layers, setting)


def _model_says(
    networks: tuple[nn.Module, nn.Module | None],
    shown: Shown,
    preprocessing: Preprocessing,
    ways: Mapping[str, float],
    num_classes: int,
) -> ModelSays:
    """`ways` as of `directions`."""

    def says(pictures: Sequence[Picture], run_N: Runs, *, alone: bool = False) -> Predictions:
        pixels = pixels_per_image(len(pictures), num_classes)
        asked = (networks[0], None) if alone else networks
        return with_classes(answered(asked, pictures, preprocessing, pixels, run_N), num_classes)

    known, target, tried, length = shown
    rehearsals: Sequence[Rehearsal] = ()
    if tried:
        rehearsals = rehearse(*parted(says(tried, runs_of(len(tried), 1), alone=True)), ways)
    return ModelSays(
        known=says(known, val_runs(len(known), length)),
        target=says(target, runs_of(len(target), length)),
        rehearsals=rehearsals,
    )


def _why_no_estimate(model: LoadedModel | None, val: Sequence[Picture], a: str) -> str:
    if model is None or not model.trained:
        return "no model is trained yet"
    if not val:
        return (
            f"no image of {a} with a mask that the model did not learn from: a split val is needed"
        )
    return ""


def _other(root: Path, model: LoadedModel, network: nn.Module) -> nn.Module | None:
    """A second network for the disagreement: the student, or the baseline where none is kept."""
    device = next(network.parameters()).device
    student = load_beside(root / layout.TEACHER, model).get("student")
    if student is not None:
        return student.to(device).eval()
    if not (root / layout.BASELINE).exists():
        return None
    baseline = load_model(root / layout.BASELINE)
    same = baseline.trained and baseline.config["image"] == model.config["image"]
    return baseline.network.to(device) if same and baseline.network else None


def _layers(
    network: nn.Module,
    known: Sequence[Picture],
    target: Sequence[Picture],
    preprocessing: Preprocessing,
    run_N: Runs,
) -> list[dict[str, Any]]:
    one, other = (
        layer_moments(network, pictures, preprocessing, "layers") for pictures in (known, target)
    )
    return layer_distances(one, other, run_N[watched(len(known))])
