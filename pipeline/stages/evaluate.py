"""Stage evaluate: IoU per class and domain, of teacher and baseline, at each mask's own size.

And whether the teacher is right as often as it says. K classes, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from scipy.special import softmax
from torch import Tensor

from pipeline import layout
from pipeline.config.params import Params
from pipeline.files import write_json
from pipeline.ids import domain_of
from pipeline.inference.logits import MaskedLogits, logits_and_masks
from pipeline.inference.strips import LogitsAt
from pipeline.metrics.iou import iou_per_class, mean_iou
from pipeline.metrics.per_image import Areas, write_areas
from pipeline.models import load_model, same_model
from pipeline.records.manifest import Sample, check_files, read_manifest
from pipeline.types import Split
from pipeline.uncertainty.calibration import (
    Bin,
    ErrorDetection,
    PixelSample,
    best_temperature,
    calibration_error,
    class_calibration_errors,
    error_detection,
    reliability,
)
from pipeline.uncertainty.scores import entropy, least_confidence, margin

JUDGED = {"baseline": layout.BASELINE, "teacher": layout.TEACHER}
DECIMALS = 6  # of an IoU; far below what a seed changes


def run(root: Path, params: Params) -> None:
    """Write metrics/evaluation.json and, image by image, metrics/val_areas.npz.

    The test split is not looked at.
    """
    samples = read_manifest(root / layout.MANIFEST)
    labelled = [sample for sample in samples if sample.labelled]
    annotated = [sample for sample in samples if sample.origin == "annotated"]
    facts = {
        "domain": params.domain,
        "labelled": len(labelled),
        "labelled_by_domain": _by_domain(samples, labelled),
        "annotated_by_domain": _by_domain(samples, annotated),
    }
    baseline, teacher = judge_split(root, params, "val")
    facts |= _figures(params, samples, "val", baseline, teacher)
    facts["calibration"] = calibration_of(teacher.pixels, params) if teacher.pixels else None
    write_json(root / layout.EVALUATION, facts)
    write_areas(root / layout.VAL_AREAS, _areas_by_domain(teacher.counts_KK))


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluated:
    """What one model says about the images of a split that have a mask."""

    counts_KK: dict[str, Tensor]
    """int64 pixels by sample id, row = truth, column = prediction; none without a trained model."""
    pixels: PixelSample | None
    """Some of the current domain; None without an image of it."""
    transductive: bool
    """Whether it learnt from val and test images, without their masks."""

    def by_domain(self, num_classes: int) -> dict[str, Tensor]:
        """counts_KK of all images of a domain together."""
        found: dict[str, Tensor] = {}
        for name, count_KK in self.counts_KK.items():
            found.setdefault(domain_of(name), _no_counts(num_classes)).add_(count_KK)
        return found


def judge_split(root: Path, params: Params, split: Split) -> tuple[Evaluated, Evaluated]:
    """Baseline and teacher on a split; judged once where they are the same, byte for byte."""
    baseline = _judge(root, params, layout.BASELINE, split)
    if same_model(root / layout.BASELINE, root / layout.TEACHER):
        return baseline, baseline
    return baseline, _judge(root, params, layout.TEACHER, split)


def evaluate_split(root: Path, params: Params, split: Split) -> dict[str, Any]:
    """IoUs of both models on a split, and whether the teacher is transductive.

    {"baseline" | "teacher": {domain: {split: {"miou", "num_images", "iou": {class: ...}}}},
    "transductive": bool}. `miou` and each `iou` are in [0, 1], or None where not measurable: no
    image, no trained model, a class that no mask has.
    """
    samples = read_manifest(root / layout.MANIFEST)
    return _figures(params, samples, split, *judge_split(root, params, split))


def teacher_confusions(root: Path, params: Params, split: Split) -> dict[str, Tensor]:
    """The teacher's int64 KxK counts by domain, row = truth; no domain without a judged image."""
    return _judge(root, params, layout.TEACHER, split).by_domain(params.num_classes)


def calibration_of(pixels: PixelSample, params: Params) -> dict[str, Any] | None:
    """Of the current domain, JSON's values; None without a trained teacher or a labelled pixel.

    {"domain", "num_pixels", "error_rate", "temperature", "ece", "ece_after", "class_ece":
    {class: ...}, "reliability": [{"confidence", "accuracy", "share"}], "error_detection": {score:
    {"auroc", "aupr", "ause"} or None}}; `ece_after` is with the temperature, on the same pixels.
    """
    if not len(pixels):
        return None
    logits_MK, truth_M = pixels.logits_MK, pixels.truth_M
    temperature = best_temperature(logits_MK, truth_M)
    probs_MK, right_M = softmax(logits_MK, axis=1), logits_MK.argmax(axis=1) == truth_M
    bins = reliability(probs_MK.max(axis=1), right_M)
    after = reliability(softmax(logits_MK / temperature, axis=1).max(axis=1), right_M)
    found = {
        score.__name__: error_detection(score(probs_MK.T), ~right_M)
        for score in (entropy, margin, least_confidence)
    }
    classes = zip(params.classes, class_calibration_errors(probs_MK, truth_M), strict=True)
    return {
        "domain": params.domain,
        "num_pixels": len(pixels),
        "error_rate": _rounded(float(1 - right_M.mean())),
        "temperature": _rounded(temperature),
        "ece": _rounded(calibration_error(bins)),
        "ece_after": _rounded(calibration_error(after)),
        "class_ece": {name: _rounded(error) for name, error in classes},
        "reliability": [_all_rounded(each) for each in bins],
        "error_detection": {name: each and _all_rounded(each) for name, each in found.items()},
    }


def _judge(root: Path, params: Params, folder: Path, split: Split) -> Evaluated:
    samples = [s for s in read_manifest(root / layout.MANIFEST) if s.split == split and s.mask]
    check_files(root, samples)
    model = load_model(root / folder)
    own = sum(sample.domain == params.domain for sample in samples)
    pixels = PixelSample(own) if own else None
    counts: dict[str, Tensor] = {}
    if model.trained:
        for found in logits_and_masks(root, model, samples, params, "evaluate"):
            own_pixels = pixels if found.sample.domain == params.domain else None
            counts[found.sample.sample_id] = _count(found, params.num_classes, own_pixels)
    transductive = bool(model.config.get("transductive", False))
    return Evaluated(counts_KK=counts, pixels=pixels, transductive=transductive)


def _count(found: MaskedLogits, num_classes: int, pixels: PixelSample | None) -> Tensor:
    """counts_KK of one image, from which `pixels` takes some."""
    if pixels is None:
        return found.confusion(num_classes)
    place_M = pixels.draw(found.mask_HW.numpy())
    drawn = LogitsAt(place_M, found.mask_HW.shape[1])
    counts_KK = found.confusion(num_classes, drawn)
    pixels.add(drawn.logits_MK, found.mask_HW.numpy().reshape(-1)[place_M])
    return counts_KK


def _figures(
    params: Params, samples: Sequence[Sample], split: Split, baseline: Evaluated, teacher: Evaluated
) -> dict[str, Any]:
    """As of `evaluate_split`."""
    num_images = _by_domain(samples, [s for s in samples if s.split == split and s.mask])
    found: dict[str, Any] = {}
    for which, judged in zip(JUDGED, (baseline, teacher), strict=True):
        counts = judged.by_domain(params.num_classes)
        found[which] = {
            domain: {
                split: {
                    "num_images": count,
                    **_ious(params, counts.get(domain, _no_counts(params.num_classes))),
                }
            }
            for domain, count in num_images.items()
        }
    return {**found, "transductive": teacher.transductive}


def _areas_by_domain(by_image: dict[str, Tensor]) -> dict[str, tuple[list[str], Areas]]:
    found = {}
    for domain in dict.fromkeys(domain_of(name) for name in by_image):
        ids = [name for name in by_image if domain_of(name) == domain]
        counts_NKK = torch.stack([by_image[name] for name in ids])
        found[domain] = (ids, Areas.of_counts(counts_NKK.double().numpy()))
    return found


def _no_counts(num_classes: int) -> Tensor:
    return torch.zeros(num_classes, num_classes, dtype=torch.int64)


def _ious(params: Params, confusion_KK: Tensor) -> dict[str, Any]:
    ious = iou_per_class(confusion_KK)
    named = zip(params.classes, ious, strict=True)
    return {"miou": _rounded(mean_iou(ious)), "iou": {name: _rounded(iou) for name, iou in named}}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DECIMALS)


def _all_rounded(values: Bin | ErrorDetection) -> dict[str, float | None]:
    return {name: _rounded(value) for name, value in asdict(values).items()}


def _by_domain(samples: Sequence[Sample], chosen: Sequence[Sample]) -> dict[str, int]:
    """Number of chosen samples for every domain there is."""
    domains = dict.fromkeys(sample.domain for sample in samples)
    return {domain: sum(sample.domain == domain for sample in chosen) for domain in domains}
