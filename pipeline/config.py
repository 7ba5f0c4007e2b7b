"""`params.yaml` as frozen values: every knob, its range and its meaning in one place.

`load_params` refuses the whole file at once and names each key, its value and what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.blocks import Block, parse_block
from pipeline.errors import ConfigError
from pipeline.loop_params import AnnotationParams, LoopParams
from pipeline.regions import Grid, grid_of
from pipeline.types import MAX_CLASSES

DOMAIN_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
Share = Annotated[float, Field(ge=0.0, le=1.0)]
PositiveInt = Annotated[int, Field(ge=1)]
ModelOptions = dict[str, bool | int | float | str | list[int]]
MethodOptions = dict[str, bool | int | float | str | list[float]]
EncoderOptions = dict[str, bool | int | float | str]


class DomainParams(Block):
    """What one domain overrides; an empty block takes the general values."""

    query_size: PositiveInt | None = None
    """Samples, or regions, per query here; null = acquire.query_size."""
    budget: Annotated[int, Field(ge=0)] | None = None
    """Answers allowed here; null = loop.budget."""


class ImageParams(Block):
    """The size at which networks see images; masks and metrics stay at each image's own size."""

    height_px: Annotated[int, Field(ge=32, le=4096)] = 96
    """Must be divisible by 32, the deepest stride of the encoders."""
    width_px: Annotated[int, Field(ge=32, le=4096)] = 128
    """Must be divisible by 32."""

    @field_validator("height_px", "width_px")
    @classmethod
    def _divisible(cls, value: int) -> int:
        if value % 32:
            raise ValueError(f"is not divisible by 32; use {value // 32 * 32 + 32}")
        return value


class ModelParams(Block):
    """Which network."""

    name: str = "unet"
    """A row of pipeline.models.MODELS."""
    options: ModelOptions = Field(default_factory=dict)
    """What only this model knows (docs/models.md lists it), for example
    `{decoder_channels: [64, 48, 32, 24, 16]}` for a lighter unet."""
    encoder: str = "tu-mobilenetv2_100"
    """An encoder of segmentation_models_pytorch, or `tu-` and any name of timm; hrnet, vit and
    dinov2_dpt need one of their family, ddrnet* have their own and do not look at it."""
    encoder_weights: str | None = None
    """null = random initialisation; a path to a local file; or `hub` = pretrained, by name."""
    encoder_options: EncoderOptions = Field(default_factory=dict)
    """Arguments of timm.create_model for `tu-*` encoders: `{pad_type: same}` where the weights
    were trained with TensorFlow's padding."""
    normalisation: Literal["imagenet", "symmetric"] = "imagenet"
    """imagenet = (x - mean) / std of ImageNet; symmetric = x / 127.5 - 1."""
    freeze_batch_norm: bool = False
    """Keep the encoder's batch-norm statistics; right for pretrained encoders and few labels."""


class TrainParams(Block):
    """One training; the baseline and the teacher take the same number of steps."""

    seed: Annotated[int, Field(ge=0)] = 0
    """The same seed gives the same weights on CPU."""
    steps: PositiveInt = 300
    """Optimiser steps."""
    batch_labelled: Annotated[int, Field(ge=2)] = 4
    """Labelled images per step, in each process."""
    batch_unlabelled: Annotated[int, Field(ge=2)] = 4
    """Unlabelled images per step, in each process; at least 2, since CutMix needs a partner."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """AdamW, decoder; polynomial decay with power 0.9."""
    encoder_learning_rate: Annotated[float, Field(ge=0, le=1)] = 1e-3
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
    monitor_share: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of the steps between looks at up to 16 val images; they give no gradient. 0 = never."""
    checkpoint_every_s: Annotated[float, Field(ge=0)] = 20.0
    """Seconds between checkpoints for resuming; 0 = at every step."""
    cache_mib: Annotated[int, Field(ge=0)] = 2048
    """Memory for decoded images; beyond it they are read again."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to train (Lightning Fabric's accelerator)."""
    num_devices: PositiveInt = 1
    """Processes, one device each."""
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = "32-true"
    """Lightning Fabric's precision."""


class MethodParams(Block):
    """How unlabelled images teach."""

    name: str = "fixmatch"
    """A row of pipeline.methods.METHODS."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.96
    """Teacher's averaging a in min(1 - 1/(t+1), a), over about 1/(1-a) steps: .96 for 300 steps
    (.99 lags 1 to 3 points of mIoU behind there), .99 for 3,000, .996 for 20,000."""
    consistency_weight: Annotated[float, Field(ge=0, le=100)] = 1.0
    """lambda_u; 0 = labels alone."""
    rampup_share: Share = 0.1
    """Share of the steps over which the consistency weight rises."""
    confidence_threshold: Share = 0.95
    """tau: a pixel is reliable when the teacher's largest probability reaches it."""
    mixes: list[str] | None = None
    """Rows of pipeline.methods.mixing.MIXES for the student's view, one drawn at every step; null =
    the method's own, [none] = images as they are."""
    mix_probability: Share = 0.5
    """Share of unlabelled images that are mixed with another."""
    strong_colour: bool = True
    """Whether the student's view of an unlabelled image is jittered, greyed and blurred."""
    feature_perturbations: list[str] | None = None
    """Rows of pipeline.methods.features.FEATURE_PERTURBATIONS between the student's encoder and
    decoder, one drawn at every step; null = the method's own, [] = none."""
    network_perturbation: Literal["none", "initialisation"] = "none"
    """initialisation = two students from different initial weights, each taught by the other's
    teacher; the first teacher is kept."""
    transductive: bool = False
    """Whether val and test images of all domains, without masks, join the unlabelled stream."""
    guard: bool = True
    """Whether the consistency weight is halved and the teacher restarted from the student when the
    monitored mIoU stays more than 3 points below its best for 3 looks; needs val images."""
    options: MethodOptions = Field(default_factory=dict)
    """What only this method knows; docs/methods.md lists them."""


class EmbedParams(Block):
    """Features of whole images for diversity; a frozen encoder, so images alone decide."""

    encoder: str = "tu-mobilenetv2_100"
    """As model.encoder."""
    encoder_weights: str | None = None
    """As model.encoder_weights; null = random features (still fine for telling images apart)."""
    encoder_options: EncoderOptions = Field(default_factory=dict)
    """As model.encoder_options."""
    normalisation: Literal["imagenet", "symmetric"] = "imagenet"
    """As model.normalisation."""


class AcquireParams(Block):
    """Which images people are asked for."""

    strategy: str = "default"
    """A row of pipeline.acquisition.STRATEGIES, or default: what measured best for the unit."""
    query_unit: Literal["image", "region"] = "image"
    """What people are asked for: whole images, or rectangular regions of any of them."""
    region_size_px: Annotated[int, Field(ge=4)] = 16
    """Side of a region, about, in pixels of the images at image.height_px x width_px, as in
    `ssl-loop backtest --region-size`: images are cut evenly into as many as fit."""
    query_size: PositiveInt = 8
    """Samples per query (b); with query_unit: region, regions."""
    audit_share: Share = 0.2
    """Share of a query drawn uniformly at random: an unbiased look at the domain."""
    top_share: Annotated[float, Field(gt=0, le=1)] = 0.1
    """An image's score is the mean over this share of its most uncertain pixels."""
    prefilter: PositiveInt = 8
    """Strategies in two steps (`..._k_center`) look at the first `prefilter * b` of the first."""
    strategy_unit_of_gain: Literal["per_image", "per_minute"] = "per_image"
    """per_minute = scores are divided by the minutes that an image is expected to take people."""
    seed: Annotated[int, Field(ge=0)] = 0
    """For the random share and ties."""


class Params(Block):
    """The whole of params.yaml."""

    classes: Annotated[tuple[str, ...], Field(min_length=2, max_length=MAX_CLASSES)]
    """Class names; the position is the class index in every mask."""
    domain: str | None = None
    """The current domain; null until the first is taken in. Written by the loop."""
    domains: dict[str, DomainParams] = Field(default_factory=dict)
    """All domains in order of arrival. Written by the loop."""
    image: ImageParams = ImageParams()
    model: ModelParams = ModelParams()
    train: TrainParams = TrainParams()
    method: MethodParams = MethodParams()
    embed: EmbedParams = EmbedParams()
    acquire: AcquireParams = AcquireParams()
    loop: LoopParams = LoopParams()
    annotation: AnnotationParams = AnnotationParams()

    @field_validator("classes", mode="before")
    @classmethod
    def _tuple(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("classes")
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        bad = sorted({name for name in value if value.count(name) > 1 or not name.strip()})
        if bad:
            raise ValueError(f"names must be distinct and not blank, got {bad}")
        return value

    @model_validator(mode="after")
    def _current_domain_is_known(self) -> Params:
        for name in self.domains:
            check_domain_name(name)
        if self.domain is not None and self.domain not in self.domains:
            raise ValueError(f"domain {self.domain!r} is not one of domains: {list(self.domains)}")
        return self

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.classes)

    @property
    def grid(self) -> Grid | None:
        """The regions of every image; None where people are asked for whole images."""
        if self.acquire.query_unit == "image":
            return None
        size = (self.image.height_px, self.image.width_px)
        return grid_of(size, self.acquire.region_size_px, finest=size)

    def query_size(self, domain: str) -> int:
        """Samples per query in `domain`."""
        return self.domains[domain].query_size or self.acquire.query_size

    def budget(self, domain: str) -> int:
        """Annotations allowed in `domain`."""
        own = self.domains[domain].budget
        return self.loop.budget if own is None else own


def check_domain_name(name: str) -> str:
    """The name itself, or ConfigError: it becomes a folder, a DVC stage and a git tag."""
    if not DOMAIN_NAME.fullmatch(name):
        raise ConfigError(
            f"domain name {name!r}: use lower-case letters, digits, '-' and '_', "
            f"starting with a letter or digit (it becomes a folder and a git tag)"
        )
    return name


def load_params(path: Path) -> Params:
    """Parse and validate all of `path`; ConfigError lists every bad key with value and remedy."""
    try:
        raw = YAML(typ="safe").load(path.read_text())
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; `ssl-loop init DIR` writes one") from None
    except YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{path}: expected a mapping of keys, got {type(raw).__name__}")
    return parse_params(raw, source=str(path))


def parse_params(raw: Mapping[str, Any], *, source: str = "params.yaml") -> Params:
    """Validate a mapping as `load_params` does a file."""
    return parse_block(Params, raw, source=source)
