"""How labelled and unlabelled images teach: one file and one row in METHODS each.

`METHODS[name](setup)` is a Method (pipeline/methods/protocol.py): an nn.Module that owns its
networks and turns a batch into named losses. pipeline/training steps, logs and saves.
"""

from __future__ import annotations

from pipeline.errors import ConfigError
from pipeline.methods.base import SemiSupervised
from pipeline.methods.cbst import CBST
from pipeline.methods.cps import CPS
from pipeline.methods.cct import CCT
from pipeline.methods.cutmix_seg import CutMixSeg
from pipeline.methods.fixmatch import FixMatch
from pipeline.methods.flexmatch import FlexMatch
from pipeline.methods.freematch import FreeMatch
from pipeline.methods.mean_teacher import MeanTeacher
from pipeline.methods.protocol import (
    Batch,
    Losses,
    Method,
    MethodSetup,
    Network,
    StrongView,
    Unlabelled,
    UnlabelledSet,
)
from pipeline.methods.soft_teacher import SoftTeacher
from pipeline.methods.softmatch import SoftMatch
from pipeline.methods.st_plus_plus import STPlusPlus
from pipeline.methods.supervised import Supervised
from pipeline.methods.ua_mt import UncertaintyAwareMeanTeacher

METHODS: dict[str, type[SemiSupervised]] = {
    "supervised": Supervised,
    "mean_teacher": MeanTeacher,
    "ua_mt": UncertaintyAwareMeanTeacher,
    "cutmix_seg": CutMixSeg,
    "cct": CCT,
    "fixmatch": FixMatch,
    "freematch": FreeMatch,
    "flexmatch": FlexMatch,
    "softmatch": SoftMatch,
    "soft_teacher": SoftTeacher,
    "cps": CPS,
    "st_plus_plus": STPlusPlus,
    "cbst": CBST,
}

__all__ = [
    "METHODS",
    "Batch",
    "Losses",
    "Method",
    "MethodSetup",
    "Network",
    "SemiSupervised",
    "StrongView",
    "Unlabelled",
    "UnlabelledSet",
    "build_method",
]


def build_method(name: str, setup: MethodSetup) -> Method:
    """The method of that name; ConfigError listing the known ones."""
    if name not in METHODS:
        raise ConfigError(f"method.name = {name!r}: unknown; known: {', '.join(METHODS)}")
    return METHODS[name](setup)
