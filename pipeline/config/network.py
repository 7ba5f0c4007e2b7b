"""The blocks of `params.yaml` about networks and their training; params.py has the rest."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator

from pipeline.config.block import Block
from pipeline.config.planned import AUTO, Planned
from pipeline.types import STRIDE_PX

AUTO_RANDOM = f"{AUTO}:random"
_CHOSEN = re.compile(r"auto:([0-9a-f]{64}|random)")


def chosen_sha256(encoder_weights: str | None) -> str | None:
    """Of the weights that `auto` stands for; None where it is not chosen yet, random or no auto."""
    found = _CHOSEN.fullmatch(encoder_weights or "")
    return None if found is None or encoder_weights == AUTO_RANDOM else found[1]


def _known_form(value: str | None) -> str | None:
    if value is not None and value.startswith(f"{AUTO}:") and not _CHOSEN.fullmatch(value):
        raise ValueError("after auto: the loop writes random or a SHA-256; use auto")
    return value


EncoderWeights = Annotated[str | None, AfterValidator(_known_form)]
Normalisation = Literal["auto", "imagenet", "symmetric"]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
PositiveInt = Annotated[int, Field(ge=1)]
ModelOptions = dict[str, bool | int | float | str | list[int]]
MethodOptions = dict[str, bool | int | float | str | list[float]]
EncoderOptions = dict[str, bool | int | float | str]


class ImageParams(Block):
    """How much of an image networks see at once; masks and metrics stay at each image's own size.

    Training takes crops of height_px x width_px, prediction overlapping tiles of that size.
    """

    height_px: Planned[Annotated[int, Field(ge=32, le=4096)]] = 96
    """Of a crop and of a tile; must be divisible by 32, the deepest stride of the encoders."""
    width_px: Planned[Annotated[int, Field(ge=32, le=4096)]] = 128
    """Must be divisible by 32."""
    scale: Planned[Annotated[float, Field(gt=0, le=1)] | None] = None
    """Pixels that networks see for one pixel of the image, along each side: 1 = all, .5 = a quarter
    of them. Images keep their shape. null = every image is squeezed whole to height_px x width_px,
    as in workspaces from before crops and tiles."""

    @field_validator("height_px", "width_px")
    @classmethod
    def _divisible(cls, value: int) -> int:
        if value % STRIDE_PX:
            fit = value // STRIDE_PX * STRIDE_PX + STRIDE_PX
            raise ValueError(f"is not divisible by {STRIDE_PX}; use {fit}")
        return value

    @property
    def crop_size(self) -> tuple[int, int]:
        """Height and width of a crop and of a tile, in pixels."""
        return self.height_px, self.width_px

    def seen_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The (height, width) at which networks see an image of `size`, all tiles together."""
        if self.scale is None:
            return self.crop_size
        height, width = size
        return max(1, round(height * self.scale)), max(1, round(width * self.scale))

    def overview_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(height, width) of an image of `size` seen whole: its shape, about a crop's area.

        For what looks at an image as one thing, such as its embedding. Both are multiples of 32.
        """
        if self.scale is None:
            return self.crop_size
        height, width = size
        shrink = (self.height_px * self.width_px / (height * width)) ** 0.5
        return _strides(height * shrink) * STRIDE_PX, _strides(width * shrink) * STRIDE_PX


def _strides(side_px: float) -> int:
    """Of the deepest stride, as many as come closest to a side; at least one."""
    return max(1, round(side_px / STRIDE_PX))


class ModelParams(Block):
    """Which network."""

    name: Planned[str] = "unet"
    """A row of pipeline.models.MODELS."""
    contender: Planned[Literal["none", "probe"]] = "none"
    """probe = a probe is trained from the same labels too, in seconds, and where its mIoU on the
    labelled val images of the current domain is above the network's, it is the model."""
    options: Planned[ModelOptions] = Field(default_factory=dict)
    """What only this model knows (docs/models.md lists it), for example
    `{decoder_channels: [64, 48, 32, 24, 16]}` for a lighter unet."""
    encoder: Planned[str] = "tu-mobilenetv2_100"
    """An encoder of segmentation_models_pytorch, or `tu-` and any name of timm; hrnet, vit and
    dinov2_dpt need one of their family, ddrnet* have their own and do not look at it."""
    encoder_weights: EncoderWeights = None
    """null = random initialisation; `auto` = from the weights folder, else the hub, else random
    with a warning, and the loop writes what it chose behind it; a path to a local file; or `hub` =
    pretrained, by name."""
    encoder_options: EncoderOptions = Field(default_factory=dict)
    """Arguments of timm.create_model for `tu-*` encoders: `{pad_type: same}` where the weights
    were trained with TensorFlow's padding."""
    normalisation: Normalisation = "imagenet"
    """imagenet = (x - mean) / std of ImageNet; symmetric = x / 127.5 - 1; auto = what the encoder's
    pretrained weights expect by its name."""
    freeze_batch_norm: Planned[bool] = False
    """Keep the encoder's batch-norm statistics; right for pretrained encoders and few labels."""


class TrainParams(Block):
    """One training; the baseline and the teacher take the same number of steps."""

    seed: Annotated[int, Field(ge=0)] = 0
    """The same seed gives the same weights on CPU."""
    steps: Planned[PositiveInt] = 300
    """Optimiser steps."""
    batch_labelled: Planned[Annotated[int, Field(ge=2)]] = 4
    """Labelled images per step, in each process."""
    batch_unlabelled: Planned[Annotated[int, Field(ge=2)]] = 4
    """Unlabelled images per step, in each process; at least 2, since CutMix needs a partner."""
    learning_rate: Planned[Annotated[float, Field(gt=0, le=1)]] = 1e-3
    """AdamW, decoder; polynomial decay with power 0.9."""
    encoder_learning_rate: Planned[Annotated[float, Field(ge=0, le=1)]] = 1e-3
    """AdamW, encoder; lower (1e-4) when it is pretrained, 0 freezes it."""
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.01
    """AdamW's decoupled decay."""
    warmup_share: Share = 0.03
    """Share of the steps over which the rate rises from 0."""
    loss: Literal["cross_entropy", "symmetric_cross_entropy"] = "cross_entropy"
    """Of labelled pixels; symmetric_cross_entropy bears inaccurate labels."""
    class_weights: Literal["none", "sqrt_inverse"] = "none"
    """sqrt_inverse = rare classes weigh more in the labelled loss, at most 3 times the average."""
    ohem: bool = False
    """Only hard labelled pixels teach: true class below .7, at least 1/16 of the pixels."""
    rare_class_sampling: bool = False
    """Draw a class first, rare ones more often, then a labelled image that has it."""
    labelled_colours: Share = 0.5
    """Share of labelled images in the jitter, grey and blur of the strong views, in the baseline as
    in the method; 0 = none, as in the papers' codes."""
    monitor_share: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of the steps between looks at up to 16 val images; they give no gradient. 0 = never."""
    keep_snapshots: bool = False
    """Whether the teacher's student and the teacher after 1/3 and 2/3 of the steps are kept: the
    scores `disagreement` and `instability` and predict.members = snapshots need them."""
    checkpoint_every_s: Annotated[float, Field(ge=0)] = 20.0
    """Seconds between checkpoints for resuming; 0 = at every step."""
    cache_mib: Annotated[int, Field(ge=0)] = 2048
    """Memory for decoded images; what finds none there, or is large by itself, is decoded once to
    disk and mapped into memory."""
    decoded_gib: Annotated[float, Field(ge=0)] = 20.0
    """Disk for decoded images; beyond it those go that no stage needed for longest, and what finds
    no room is decoded again each time."""
    features_gib: Annotated[float, Field(ge=0)] = 20.0
    """Disk for what a probe's frozen encoder says about images; beyond it they are computed again
    each time."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to train (Lightning Fabric's accelerator)."""
    num_devices: PositiveInt = 1
    """Processes, one device each."""
    precision: Planned[Literal["32-true", "16-mixed", "bf16-mixed"]] = "32-true"
    """Lightning Fabric's precision."""


class MethodParams(Block):
    """How unlabelled images teach."""

    name: Planned[str] = "mean_teacher"
    """A row of pipeline.methods.METHODS."""
    ema_decay: Planned[Annotated[float, Field(ge=0, lt=1)]] = 0.96
    """Teacher's averaging a in min(1 - 1/(t+1), a), over about 1/(1-a) steps: .96 for 300 steps
    (.99 lags 1 to 3 points of mIoU behind there), .99 for 3,000, .996 for 20,000."""
    consistency_weight: Planned[Annotated[float, Field(ge=0, le=100)]] = 1.0
    """lambda_u; 0 = labels alone. What `adapt` adds at a shift has a weight of its own, 1."""
    rampup_share: Share = 0.1
    """Share of the steps over which the consistency weight rises."""
    confidence_threshold: Share = 0.95
    """tau: a pixel is reliable when the teacher's largest probability reaches it."""
    mixes: list[str] | None = None
    """Rows of pipeline.methods.shared.mixing.MIXES for the student's view, one drawn at every step;
    null = the method's own, [none] = images as they are."""
    mix_probability: Share = 0.5
    """Share of unlabelled images that are mixed with another."""
    strong_colour: bool = True
    """Whether the student's view of an unlabelled image is jittered, greyed and blurred."""
    feature_perturbations: list[str] | None = None
    """Rows of FEATURE_PERTURBATIONS (pipeline/methods/shared/feature_perturbations.py) between the
    student's encoder and decoder, one drawn at every step; null = the method's own, [] = none."""
    network_perturbation: Literal["none", "initialisation"] = "none"
    """initialisation = two students from different initial weights, each taught by the other's
    teacher; the first teacher is kept. Refused by methods that cannot: see
    docs/methods/perturbations.md."""
    transductive: bool = False
    """Whether val and test images of all domains, without masks, join the unlabelled stream."""
    guard: bool = True
    """Whether the consistency weight is halved and the teacher restarted from the student when the
    monitored mIoU stays more than 3 points below its best for 3 looks; needs val images."""
    options: MethodOptions = Field(default_factory=dict)
    """What only this method knows; docs/methods/ lists them."""


class AdaptParams(Block):
    """How the teacher follows a shift: from domains with labels to the current one.

    Without labelled images of another domain nothing of it is in force.
    """

    batch_norm: Literal["none", "adabn", "mixed"] = "none"
    """Statistics of the kept network's batch norms: as trained; those of the current domain; or
    both, the source's counting as much as `batch_norm_prior` images."""
    batch_norm_prior: Annotated[float, Field(ge=0, le=1e6)] = 16.0
    """N of `mixed`, in images; up to 32 images of the current domain are looked at."""
    target_share: Share | None = None
    """Share of the unlabelled images of every batch of the current domain; null = as they are."""
    cross_domain_mix: bool | Literal["until_labelled"] = "until_labelled"
    """Whether half of the classes of a labelled image are pasted onto an unlabelled one of the
    current domain, and both learnt from (DACS): always, never, or until that domain has labels of
    its own; needs a method with a teacher."""
    masked_consistency: bool = False
    """Whether the student also learns unlabelled images of the current domain with most of their
    patches hidden, as the teacher labels them whole (MIC); needs a method with a teacher."""
    mask_ratio: Share = 0.7
    """Share of the patches that masked_consistency hides."""
    mask_patch_px: PositiveInt = 32
    """Side of its patches, in pixels of what the network sees: a sixteenth of the crop is usual (64
    of 1024)."""
    fourier_beta: Annotated[float, Field(ge=0.0, le=0.5)] = 0.0
    """Half of the other domains' labelled images take the lowest frequencies' amplitudes of an
    image of the current one, up to this share of the shorter side (FDA: .01 to .09); 0 = off."""
    source_weight: Share = 0.3
    """How often a labelled image of another domain is drawn, beside one of the current domain: 1 =
    as often, 0 = never, once the current domain has labels."""
    warm_start: bool = True
    """Whether the training starts from the last round's teacher, in previous/teacher."""
    warm_start_steps: PositiveInt | None = None
    """train.steps of a training that starts from the last teacher; null = as many as any other."""
    warm_start_rate: Annotated[float, Field(gt=0, le=1)] = 0.5
    """What both learning rates are multiplied by in a training that starts from it."""
    warm_start_share: Share = 0.25
    """Share of that teacher's weights in the one that is kept after such a training; 0 = none."""


NO_ADAPTATION = AdaptParams(
    batch_norm="none",
    target_share=None,
    cross_domain_mix=False,
    masked_consistency=False,
    fourier_beta=0.0,
    source_weight=1.0,
    warm_start=False,
    warm_start_share=0.0,
)


class EmbedParams(Block):
    """Features of whole images for diversity; a frozen encoder, so images alone decide."""

    encoder: Planned[str] = "tu-mobilenetv2_100"
    """As model.encoder."""
    encoder_weights: EncoderWeights = None
    """As model.encoder_weights; null = random features (still fine for telling images apart)."""
    encoder_options: EncoderOptions = Field(default_factory=dict)
    """As model.encoder_options."""
    normalisation: Normalisation = "imagenet"
    """As model.normalisation."""
