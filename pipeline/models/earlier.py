"""Networks that were built otherwise when a checkpoint was written, by the names they have now.

A checkpoint keeps the number of the architecture it was written under. Where a name has come to
mean another network since, the checkpoint's own is what is built again, to the last digit.
"""

from __future__ import annotations

from pipeline.config.params import ModelParams
from pipeline.errors import ModelError
from pipeline.models.transformers.vit import is_dinov2

ARCHITECTURE = 3
"""Of networks built today; 1 = as before `pspnet`, `hrnet` and DINOv2's positions were as in their
papers, which checkpoints say nothing about; 2 = as before a probe told the parts of cells apart."""


def as_written(model: ModelParams, architecture: int) -> ModelParams:
    """The params that build today what `model` built under `architecture`; ModelError for a later.

    2: a `probe` had no details.
    1: nor had it then; `pspnet` was `pspnet_mini`, `hrnet` upsampled by the nearest neighbour,
    `sincos_2d` was `sincos_2d_mae`, and DINOv2's positions were antialiased.
    """
    if architecture > ARCHITECTURE:
        raise ModelError(
            f"written under architecture {architecture}, this version knows {ARCHITECTURE}; "
            "update ssl-loop"
        )
    options = dict(model.options)
    if architecture < 3 and model.name == "probe":
        options["details"] = 0
    if architecture >= 2:
        return model.model_copy(update={"options": options})
    name = "pspnet_mini" if model.name == "pspnet" else model.name
    if name == "hrnet":
        options["upsampling"] = "nearest"
    if options.get("positions") == "sincos_2d":
        options["positions"] = "sincos_2d_mae"
    if name in ("vit", "dinov2_dpt", "probe") and is_dinov2(model.encoder):
        options["antialias"] = True
    return model.model_copy(update={"name": name, "options": options})
