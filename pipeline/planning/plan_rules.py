"""What a plan chooses: one function for each knob, with its reason in a sentence.

A rule sees the facts and the params with everything chosen before it, what the user set included.
docs/plan.md says where the numbers come from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from pipeline.config.params import Params
from pipeline.planning.data_fingerprint import DataFingerprint
from pipeline.planning.machine import Machine
from pipeline.planning.training_cost import TrainingCost
from pipeline.training.probes.probe_choice import LEARNING_RATE as PROBE_RATE
from pipeline.training.probes.probe_choice import PROBE, TILE_PX, probe_image
from pipeline.training.probes.probe_choice import STEPS as PROBE_STEPS
from pipeline.types import STRIDE_PX, UNKNOWN

Profile = Literal["quick", "balanced", "best"]

TRAINING_MINUTES: Mapping[Profile, float] = {"quick": 2, "balanced": 5, "best": 30}
CROP_PIXELS: Mapping[str, Mapping[Profile, int]] = {
    "cpu": {"quick": 128 * 160, "balanced": 192 * 256, "best": 256 * 320},
    "gpu": {"quick": 320 * 320, "balanced": 512 * 512, "best": 640 * 640},
}
BATCHES: Mapping[str, Mapping[Profile, int]] = {
    "cpu": {"quick": 4, "balanced": 4, "best": 4},
    "gpu": {"quick": 8, "balanced": 8, "best": 16},
}
SCALES = (1.0, 0.75, 0.6, 0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.1)
CLEAR_PX = 4.0  # an object seen this wide is outlined for the most part (1 - 1/e)
COVERAGE_POWER = 0.15  # how much of its worth a crop loses that shows less of the image
UNKNOWN_WIDTHS = (1 / 40, 1 / 10, 1 / 3)  # of the shorter side: objects nobody has painted yet
SHARE_OF_MEMORY = 0.6  # that activations and weights may take
FEWEST_STEPS, MOST_STEPS = 200, 20_000
MOST_EPOCHS = 400  # over the labelled images: beyond, they are known by heart
DOMINANT = 0.5  # of the labelled pixels: more than all other classes together
CONSISTENCY_WEIGHT = 1.0  # benchmarks.defaults.method_weight
NARROW = {"encoder_depth": 4, "decoder_channels": 64}
NO_WEIGHTS_ENCODER = "tu-mobilenetv2_100"


class Ruled(NamedTuple):
    """A rule's answer."""

    value: Any
    reason: str
    """A sentence, without the value."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What rules decide by."""

    data: DataFingerprint
    machine: Machine
    profile: Profile
    stored_encoders: tuple[str, ...]
    """Names with pretrained weights on this machine."""
    cost: Callable[[Params], TrainingCost]
    """Measures a training with these params; asked for as seldom as possible."""

    @property
    def place(self) -> Literal["cpu", "gpu"]:
        """Row of the tables."""
        return "cpu" if self.machine.device == "cpu" else "gpu"


Rule = Callable[[Facts, Params], Ruled]


def encoder(facts: Facts, params: Params) -> Ruled:
    """The first of a list by device that has weights here, else a small one the hub has.

    Of timm's names alone (`tu-*`): of others it is not known how their weights want images.
    """
    stored = [name for name in facts.stored_encoders if name.startswith("tu-")]
    for name in ENCODERS[facts.place]:
        if name in stored:
            return Ruled(name, f"pretrained weights of it are here, and it suits a {_on(facts)}")
    if stored:
        return Ruled(stored[0], "pretrained weights of it are on this machine")
    return Ruled(
        NO_WEIGHTS_ENCODER,
        "small, and the hub has weights of it; none are on this machine "
        f"(`ssl-loop weights fetch {NO_WEIGHTS_ENCODER}`)",
    )


def embedding_encoder(facts: Facts, params: Params) -> Ruled:
    """The network's, so that both begin from the same weights."""
    return Ruled(params.model.encoder, "as the network's: the weights are there already")


def model(facts: Facts, params: Params) -> Ruled:
    """The decoder that fits the encoder; where a round is to take seconds, none."""
    name = params.model.encoder
    if facts.place == "cpu" and facts.profile == "quick" and _pretrained(facts, params):
        return Ruled(PROBE, "pretrained features with a small head, trained in seconds")
    if "dinov2" in name or "dinov3" in name:
        return Ruled("dinov2_dpt", f"made for encoders such as {name}")
    if name.startswith("tu-vit"):
        return Ruled("vit", f"{name} is a Vision Transformer")
    if name.startswith("tu-hrnet"):
        return Ruled("hrnet", f"{name} brings its maps of several sizes")
    return Ruled("deeplabv3plus", "sees far around a pixel and takes any convolutional encoder")


def contender(facts: Facts, params: Params) -> Ruled:
    """A probe costs seconds, and neither it nor a network wins always (docs/decisions/009)."""
    if params.model.name == PROBE:
        return Ruled("none", "the model is a probe itself")
    if not _pretrained(facts, params):
        return Ruled("none", "features of an encoder that starts at random hold little")
    return Ruled(PROBE, "it takes seconds, and on val the better of the two is kept")


def model_options(facts: Facts, params: Params) -> Ruled:
    """Narrow on a CPU: half the time of a step, and as good after as many."""
    if facts.place == "cpu" and params.model.name == "deeplabv3plus":
        return Ruled(NARROW, "a narrow decoder on four of five stages halves the time of a step")
    return Ruled({}, "as the library builds it")


def freeze_batch_norm(facts: Facts, params: Params) -> Ruled:
    """Pretrained statistics are better than those of a few images."""
    if _pretrained(facts, params):
        return Ruled(True, "pretrained statistics come from more images than a batch here has")
    return Ruled(False, "an encoder that starts at random has no statistics to keep")


def crop(facts: Facts, params: Params) -> tuple[int, int]:
    """(height, width): as many pixels as the profile allows, in the images' usual shape."""
    data, pixels = facts.data, CROP_PIXELS[facts.place][facts.profile]
    if params.model.name == PROBE:
        return probe_image((data.height_px, data.width_px)).crop_size
    ratio = 1.0 if data.several_shapes else data.width_px / data.height_px
    ratio = min(2.0, max(0.5, ratio))
    height = _strides(math.sqrt(pixels / ratio))
    width = _strides(math.sqrt(pixels * ratio))
    # A crop beyond the image would be padding.
    return min(height, _strides_up(data.height_px)), min(width, _strides_up(data.width_px))


def crop_height(facts: Facts, params: Params) -> Ruled:
    """The first of `crop`."""
    return Ruled(crop(facts, params)[0], _crop_reason(facts, params))


def crop_width(facts: Facts, params: Params) -> Ruled:
    """The second of `crop`."""
    return Ruled(crop(facts, params)[1], _crop_reason(facts, params))


def scale(facts: Facts, params: Params) -> Ruled:
    """The one at which objects are best seen while a crop still shows their surroundings."""
    data = facts.data
    if params.model.name == PROBE:
        chosen = round(probe_image((data.height_px, data.width_px)).scale or 1.0, 3)
        return Ruled(chosen, "frozen features are best of all pixels, of which 2 million are taken")
    by_masks = bool(data.extents)
    allowed = [s for s in SCALES if by_masks or s <= data.detail_scale] or [SCALES[-1]]
    chosen = max(allowed, key=lambda s: worth_of_scale(s, data, params.image.crop_size))
    covered = coverage(chosen, data, params.image.crop_size)
    shown = f"a crop shows {covered:.0%} of an image of {data.height_px}x{data.width_px}"
    if by_masks:
        name, extent = min(data.extents.items(), key=lambda item: item[1].width_px)
        seen = extent.width_px * chosen
        return Ruled(
            chosen, f"{shown}, and {name}, {extent.width_px:g} pixels wide, is seen {seen:.1f} wide"
        )
    if data.detail_scale < 1 and chosen == data.detail_scale:
        return Ruled(chosen, f"the images are no sharper than that, and {shown}")
    return Ruled(
        chosen, f"{shown}; nobody has painted masks yet that would say how small things are"
    )


def worth_of_scale(scale: float, data: DataFingerprint, crop: tuple[int, int]) -> float:
    """In 0..1: how well one sees the objects of every class, times what a crop covers.

    An object seen p pixels wide counts 1 - exp(-(p / CLEAR_PX)^2). Of the classes the geometric
    mean, so that one which cannot be seen at all spoils the whole; coverage counts by a power.
    """
    widths = [extent.width_px for extent in data.extents.values()]
    if not widths:
        widths = [share * min(data.height_px, data.width_px) for share in UNKNOWN_WIDTHS]
    seen = [1 - math.exp(-((width * scale / CLEAR_PX) ** 2)) for width in widths]
    return math.prod(seen) ** (1 / len(seen)) * coverage(scale, data, crop) ** COVERAGE_POWER


def coverage(scale: float, data: DataFingerprint, crop: tuple[int, int]) -> float:
    """Share of the usual image that a crop shows."""
    height, width = data.height_px * scale, data.width_px * scale
    return min(1.0, crop[0] / height) * min(1.0, crop[1] / width)


def method(facts: Facts, params: Params) -> Ruled:
    """Mean Teacher where the steps are enough for it, or where the domain has no label of its own.

    In few steps on a CPU, labels alone reach more in the same time (docs/decisions/008).
    """
    if params.model.name == PROBE:
        return Ruled("supervised", "a probe learns from labels, each image seen once")
    if not facts.data.num_unlabelled:
        return Ruled("supervised", "no unlabelled image is there to learn from")
    if facts.data.shifted:
        return Ruled("mean_teacher", "no image of this domain has a label yet")
    if facts.place == "gpu":
        return Ruled("mean_teacher", "steps are cheap on a GPU, and no method lost less")
    return Ruled(
        "supervised",
        "a CPU takes few steps, in which labels alone teach more than in as much time"
        " with unlabelled images; those are still chosen from",
    )


def precision(facts: Facts, params: Params) -> Ruled:
    """bf16 where the device has it."""
    if facts.machine.device == "cuda":
        return Ruled("bf16-mixed", "half the memory, and the range of 32 bits")
    return Ruled("32-true", f"a {_on(facts)} gains nothing by less")


def batch(facts: Facts, params: Params) -> Ruled:
    """The profile's, halved until it fits the memory."""
    usual = chosen = BATCHES[facts.place][facts.profile]
    if params.model.name == PROBE:
        return Ruled(usual, "a probe draws cells of all labelled images, whatever this says")
    available = facts.machine.memory_gib * 1024 * SHARE_OF_MEMORY
    while chosen > 2:
        trial = params.with_knobs(train={"batch_labelled": chosen, "batch_unlabelled": chosen})
        if facts.cost(trial).memory_mib <= available:
            break
        chosen //= 2
    if chosen == usual:
        return Ruled(chosen, f"usual on a {_on(facts)}, and its memory holds them")
    return Ruled(chosen, f"more do not fit the memory of {facts.machine.memory_gib:.0f} GiB")


def batch_unlabelled(facts: Facts, params: Params) -> Ruled:
    """As many as labelled ones where a device is fast, half of them on a CPU."""
    labelled = params.train.batch_labelled
    if facts.place == "gpu":
        return Ruled(labelled, "as many as labelled ones")
    reason = "half of the labelled: each costs more than a labelled one, and a CPU takes few steps"
    return Ruled(max(2, labelled // 2), reason)


def learning_rate(facts: Facts, params: Params) -> Ruled:
    """Of the decoder, which always starts at random."""
    if params.model.name == PROBE:
        return Ruled(PROBE_RATE, "few weights, thousands of cells a step: a high rate is safe")
    if params.model.name == "dinov2_dpt":
        return Ruled(2e-4, "as UniMatch V2 trains the decoder of DPT")
    if facts.place == "cpu":
        return Ruled(2e-3, "the few steps of a CPU want long ones")
    return Ruled(1e-3, "AdamW's usual rate for layers that start at random")


def encoder_learning_rate(facts: Facts, params: Params) -> Ruled:
    """Lower where it is pretrained."""
    if params.model.name == "dinov2_dpt":
        return Ruled(5e-6, "as UniMatch V2 tunes DINOv2")
    if not _pretrained(facts, params):
        return Ruled(params.train.learning_rate, "it starts at random, as the decoder does")
    if facts.place == "cpu":
        return Ruled(5e-4, "below the decoder's: pretrained weights are to be kept, not lost")
    return Ruled(1e-4, "a tenth of the decoder's: pretrained weights are to be kept, not lost")


def steps(facts: Facts, params: Params) -> Ruled:
    """As many as the profile's minutes allow, to two digits."""
    if params.model.name == PROBE:
        return Ruled(PROBE_STEPS, "seconds on a CPU; three times as many gained nothing")
    cost = facts.cost(params)
    minutes = TRAINING_MINUTES[facts.profile]
    possible = minutes * 60 / max(1e-6, cost.step_s)
    labels = facts.data.num_labelled
    useful = max(1000.0, MOST_EPOCHS * labels / params.train.batch_labelled)
    chosen = _two_digits(min(max(possible, FEWEST_STEPS), useful, MOST_STEPS))
    took = f"a step takes {cost.step_s:.2g} s here"
    if possible < FEWEST_STEPS:
        return Ruled(chosen, f"the fewest that teach anything: {took}")
    if chosen < 0.9 * possible:
        return Ruled(chosen, f"more would teach nothing new from {labels} labelled images; {took}")
    return Ruled(
        chosen, f"{took}, and profile {facts.profile} gives a training {minutes:g} minutes"
    )


def ema_decay(facts: Facts, params: Params) -> Ruled:
    """Averaging over 25 steps of 300, growing with the square root of their number."""
    length = 25 * math.sqrt(params.train.steps / 300)
    decay = round(1 - 1 / max(10.0, min(250.0, length)), 3)
    return Ruled(decay, f"averages {1 / (1 - decay):.0f} of {params.train.steps} steps")


def consistency_weight(facts: Facts, params: Params) -> Ruled:
    """1: what others take in long trainings, up to 100, lost in few steps (docs/decisions/008)."""
    if params.method.name == "supervised":
        return Ruled(CONSISTENCY_WEIGHT, "idle: no unlabelled image teaches")
    return Ruled(CONSISTENCY_WEIGHT, "labels lead; more lost on val in the few steps of a trial")


def query_size(facts: Facts, params: Params) -> Ruled:
    """A query is a sitting: more where there is more to choose from."""
    number = facts.data.num_images
    chosen = 8 if number < 500 else 16 if number < 10_000 else 32
    return Ruled(min(chosen, max(1, number // 3)), f"one sitting, of {number} images")


def background(facts: Facts, params: Params) -> Ruled:
    """The class that people could leave bare, for a person to decide; None where none dominates.

    It has to cover at least half of the labelled pixels: then leaving it bare halves the painting.
    """
    if UNKNOWN in params.classes:
        return Ruled(None, f"every class is painted, since one of them is called {UNKNOWN}")
    shares = {name: extent.share for name, extent in facts.data.extents.items()}
    name = max(shares, key=lambda one: shares[one], default=None)
    if name is None:
        return Ruled(None, "nobody has painted masks yet that would say which class dominates")
    if shares[name] < DOMINANT:
        return Ruled(None, f"every class is painted: the largest, {name}, has {shares[name]:.0%}")
    return Ruled(name, f"{name} has {shares[name]:.0%}: {name!r} here spares people painting it")


RULES: dict[str, Rule] = {
    "model.encoder": encoder,
    "embed.encoder": embedding_encoder,
    "model.name": model,
    "model.contender": contender,
    "model.options": model_options,
    "model.freeze_batch_norm": freeze_batch_norm,
    "image.height_px": crop_height,
    "image.width_px": crop_width,
    "image.scale": scale,
    "method.name": method,
    "train.precision": precision,
    "train.batch_labelled": batch,
    "train.batch_unlabelled": batch_unlabelled,
    "train.learning_rate": learning_rate,
    "train.encoder_learning_rate": encoder_learning_rate,
    "train.steps": steps,
    "method.ema_decay": ema_decay,
    "method.consistency_weight": consistency_weight,
    "acquire.query_size": query_size,
}
ENCODERS: Mapping[str, tuple[str, ...]] = {
    "cpu": (
        "tu-mobilenetv2_100", "tu-mobilenetv3_large_100", "tu-efficientnet_b0", "tu-resnet18",
    ),
    "gpu": (
        "tu-vit_small_patch14_dinov2", "tu-vit_base_patch14_dinov2", "tu-convnext_tiny",
        "tu-resnet50", "tu-efficientnet_b0", "tu-mobilenetv2_100",
    ),
}  # fmt: skip


def _pretrained(facts: Facts, params: Params) -> bool:
    given = params.model.encoder_weights
    if given is None or given == "auto:random":
        return False
    return given != "auto" or params.model.encoder in facts.stored_encoders


def _on(facts: Facts) -> str:
    return "CPU" if facts.place == "cpu" else "GPU"


def _crop_reason(facts: Facts, params: Params) -> str:
    if params.model.name == PROBE:
        return f"a frozen encoder has room for tiles of up to {TILE_PX} pixels"
    shape = "square, for shapes differ" if facts.data.several_shapes else "in the images' shape"
    return f"as large as profile {facts.profile} allows on a {_on(facts)}, {shape}"


def _strides(side_px: float) -> int:
    return max(STRIDE_PX, round(side_px / STRIDE_PX) * STRIDE_PX)


def _strides_up(side_px: int) -> int:
    return -(-side_px // STRIDE_PX) * STRIDE_PX


def _two_digits(value: float) -> int:
    unit = 10 ** max(0, math.floor(math.log10(value)) - 1)
    return round(value / unit) * unit
