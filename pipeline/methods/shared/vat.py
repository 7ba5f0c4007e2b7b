"""Virtual adversarial training on feature maps (Miyato et al. 2018; CCT, Ouali et al. 2020).

B images, D channels, K classes, H height, W width at full size, h and w at a map's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

# Norm of the random probe (xi). CCT's 1e-6 is rounded away when added to features of a norm of
# hundreds in float32; one of the order of the step itself survives TF32 too.
PROBE_NORM = 1.0


def adversarial_step(
    features: list[Tensor], decode: Callable[[list[Tensor]], Tensor], norm: float
) -> list[Tensor]:
    """For all maps but the first, the step along which an image's prediction changes most.

    r = norm g / |g| with g = grad_d KL(p(z) || p(z + xi d)) at a random d: one power iteration.
    The norm is an image's, over all maps together. Without gradient; 0 where g is 0.
    """
    image_BCHW, *maps = [values.detach().float() for values in features]
    with torch.enable_grad(), torch.autocast(image_BCHW.device.type, enabled=False):
        with torch.no_grad():
            target_BKHW = decode([image_BCHW, *maps]).log_softmax(dim=1)
        probes = _rescaled([torch.randn_like(values) for values in maps], PROBE_NORM)
        for probe in probes:
            probe.requires_grad_()
        moved = [values + probe for values, probe in zip(maps, probes, strict=True)]
        moved_BKHW = decode([image_BCHW, *moved]).log_softmax(dim=1)
        divergence = F.kl_div(moved_BKHW, target_BKHW, log_target=True, reduction="sum")
        gradients = torch.autograd.grad(divergence, probes, materialize_grads=True)
    return _rescaled(gradients, norm)


def _rescaled(directions: Sequence[Tensor], norm: float) -> list[Tensor]:
    squares_B = torch.stack([part.square().flatten(1).sum(1) for part in directions]).sum(0)
    factor_B = norm / squares_B.sqrt().clamp(min=1e-12)
    return [part * factor_B[:, None, None, None] for part in directions]
