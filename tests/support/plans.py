"""Workspaces to plan for, from three images to 100,000; `python -m tests.support.plans`.

The command prints three of the plans as docs/plan.md shows them.
"""

from __future__ import annotations

import math
from typing import Any

from pipeline.config.params import PLANNED_KNOBS, Params, parse_params
from pipeline.config.planned import in_blocks
from pipeline.planning.data_fingerprint import ClassExtent, DataFingerprint
from pipeline.planning.machine import Machine
from pipeline.planning.plan_rules import Facts
from pipeline.planning.training_cost import TrainingCost
from pipeline.planning.training_plan import TrainingPlan, make_plan
from pipeline.training.probes.probe_choice import PROBE

LAPTOP = Machine(device="cpu", name="CPU", memory_gib=8, cores=4)
SERVER = Machine(device="cpu", name="CPU", memory_gib=24, cores=2)
SMALL_GPU = Machine(device="cuda", name="GeForce", memory_gib=8, cores=8)
LARGE_GPU = Machine(device="cuda", name="H100", memory_gib=80, cores=16)
MOBILENET = ("tu-mobilenetv2_100",)


def cost(params: Params) -> TrainingCost:
    """As two cores take it for a small network, and a GPU a hundred times faster."""
    if params.model.name == PROBE:
        return TrainingCost(step_s=0.01, supervised_step_s=0.01, memory_mib=600, megapixel_s=0.6)
    pixels = math.prod(params.image.crop_size) * params.train.batch_labelled
    per_pixel_s = 1.5e-8 if params.train.precision == "bf16-mixed" else 1.5e-6
    passes = 1 if params.method.name == "supervised" else 2.5
    return TrainingCost(
        step_s=passes * pixels * per_pixel_s,
        supervised_step_s=pixels * per_pixel_s,
        memory_mib=pixels * 8000 / 2**20,
        megapixel_s=1e6 * per_pixel_s,
    )


def data(size: tuple[int, int], number: int, **others: Any) -> DataFingerprint:
    known: dict[str, Any] = {
        "num_images": number,
        "num_labelled": 0,
        "num_unlabelled": number,
        "shifted": False,
        "num_classes": 3,
        "height_px": size[0],
        "width_px": size[1],
        "largest_px": math.prod(size),
        "several_shapes": False,
        "detail_scale": 1.0,
        "extents": {},
    }
    return DataFingerprint(**known | others)


def extents(**widths: float) -> dict[str, ClassExtent]:
    return {name: ClassExtent(share=0.1, width_px=width) for name, width in widths.items()}


STREET = extents(sky=200, road=150, car=60, person=16, pole=4)
FIXTURES: dict[str, tuple[DataFingerprint, Machine, dict[str, Any]]] = {
    "tiny microscopy": (
        data((64, 64), 200, num_labelled=20, extents=extents(ground=40, nucleus=9)),
        LAPTOP,
        {"image.height_px": 64, "image.width_px": 64, "image.scale": 1.0},
    ),
    "microscopy of several shapes": (
        data((256, 320), 600, several_shapes=True, num_labelled=28, extents=extents(cell=20)),
        SERVER,
        {"image.height_px": 224, "image.width_px": 224, "acquire.query_size": 16},
    ),
    "street scenes": (
        data((360, 480), 400, num_labelled=28, extents=STREET, num_classes=11),
        SERVER,
        {
            "image.height_px": 192,
            "image.width_px": 256,
            "train.batch_labelled": 4,
            "train.batch_unlabelled": 2,
            "train.precision": "32-true",
            "model.encoder": "tu-mobilenetv2_100",
            "model.freeze_batch_norm": True,
            "train.learning_rate": 2e-3,
            "train.encoder_learning_rate": 5e-4,
            "model.options": {"encoder_depth": 4, "decoder_channels": 64},
            "model.contender": "probe",
        },
    ),
    "4K street, no mask yet": (
        data((2160, 3840), 1000),
        LARGE_GPU,
        {
            "image.height_px": 384,
            "image.width_px": 672,
            "train.precision": "bf16-mixed",
            "train.encoder_learning_rate": 1e-4,
            "model.options": {},
        },
    ),
    "photographs that are blurred": (
        data((512, 512), 1000, detail_scale=0.25),
        LARGE_GPU,
        {"image.scale": 0.25},
    ),
    "cracks": (
        data((1080, 1920), 300, num_labelled=60, extents=extents(wall=900, crack=2)),
        SERVER,
        {"image.scale": 1.0},
    ),
    "one 20k TIFF": (
        data((20_000, 20_000), 1, largest_px=400_000_000),
        LARGE_GPU,
        {"image.height_px": 512, "image.width_px": 512, "acquire.query_size": 1},
    ),
    "three images": (
        data((480, 640), 3, num_labelled=3, num_unlabelled=0),
        LAPTOP,
        {"method.name": "supervised", "acquire.query_size": 1},
    ),
    "a second domain without a label": (
        data((360, 480), 400, num_labelled=28, extents=STREET, shifted=True, num_classes=11),
        SERVER,
        {"method.name": "mean_teacher", "train.batch_unlabelled": 2},
    ),
    "100,000 images": (
        data((512, 512), 100_000),
        LARGE_GPU,
        {"acquire.query_size": 32, "method.name": "mean_teacher"},
    ),
    "150 classes": (
        data((512, 683), 2000, num_classes=150, num_labelled=300, extents=extents(a=80, b=30)),
        LARGE_GPU,
        {"train.batch_labelled": 8, "acquire.query_size": 16},
    ),
    "a GPU of 8 GB": (
        data((1024, 1024), 500, num_labelled=100, extents=extents(a=100, b=40)),
        SMALL_GPU,
        {"image.height_px": 512, "train.batch_labelled": 2, "train.batch_unlabelled": 2},
    ),
    "a portrait on a laptop": (
        data((640, 360), 40, num_labelled=4, extents=extents(a=60, b=20), num_classes=2),
        LAPTOP,
        {"image.height_px": 288, "image.width_px": 160, "method.name": "supervised"},
    ),
}


def planned(
    of: DataFingerprint,
    machine: Machine,
    *,
    profile: Any = "balanced",
    stored: tuple[str, ...] = MOBILENET,
    yours: dict[str, Any] | None = None,
) -> TrainingPlan:
    facts = Facts(data=of, machine=machine, profile=profile, stored_encoders=stored, cost=cost)
    set_by_hand = yours or {}
    raw = in_blocks({"model.encoder_weights": "auto", **set_by_hand})
    params = parse_params({"classes": ["a", "b"], **raw})
    return make_plan(facts, params, frozenset(PLANNED_KNOBS) - set_by_hand.keys())


def values(plan: TrainingPlan) -> dict[str, Any]:
    return {choice.knob: choice.value for choice in plan.choices}


SHOWN = ("street scenes", "photographs that are blurred", "three images")


def examples() -> str:
    """Three plans whole, as Markdown."""
    parts = []
    for name in SHOWN:
        of, machine, _ = FIXTURES[name]
        plan = planned(of, machine)
        labels = f"{of.num_labelled} labelled" if of.num_labelled else "no mask yet"
        parts += [
            f"**{name.capitalize()}**: {of.num_images} images of {of.height_px}x{of.width_px}, "
            f"{labels}, {of.num_classes} classes; {machine.name}, {machine.memory_gib:.0f} GiB; "
            f"{plan.minutes_per_round:.0f} minutes a round, {plan.memory_mib:.0f} MiB.",
            "",
            "| knob | value | why |",
            "|---|---|---|",
            *(f"| `{one.knob}` | {one.value} | {one.reason} |" for one in plan.choices),
            "",
        ]
    return "\n".join(parts)


if __name__ == "__main__":
    print(examples())
