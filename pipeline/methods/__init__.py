"""How labelled and unlabelled images teach: one file and one row in FAMILIES each.

`METHODS[name](setup)` is a Method (pipeline/methods/shared/protocol.py): an nn.Module that owns its
networks and turns a batch into named losses. pipeline/training steps, logs and saves.
"""

from __future__ import annotations

from pipeline.errors import ConfigError
from pipeline.methods.adv_semi_seg import AdvSemiSeg
from pipeline.methods.augseg import AugSeg
from pipeline.methods.cbst import CBST
from pipeline.methods.cct import CCT
from pipeline.methods.corrmatch import CorrMatch
from pipeline.methods.cps import CPS
from pipeline.methods.cutmix_seg import CutMixSeg
from pipeline.methods.fixmatch import FixMatch
from pipeline.methods.flexmatch import FlexMatch
from pipeline.methods.freematch import FreeMatch
from pipeline.methods.mean_teacher import MeanTeacher
from pipeline.methods.prevmatch import PrevMatch
from pipeline.methods.reco import ReCo
from pipeline.methods.s4gan import S4GAN
from pipeline.methods.shared.base import SemiSupervised
from pipeline.methods.shared.protocol import (
    Batch,
    Losses,
    Method,
    MethodSetup,
    Network,
    StrongColour,
    StrongView,
    Unlabelled,
    UnlabelledSet,
)
from pipeline.methods.soft_teacher import SoftTeacher
from pipeline.methods.softmatch import SoftMatch
from pipeline.methods.st_plus_plus import STPlusPlus
from pipeline.methods.supervised import Supervised
from pipeline.methods.u2pl import U2PL
from pipeline.methods.ua_mt import UncertaintyAwareMeanTeacher
from pipeline.methods.unimatch_v1 import UniMatchV1
from pipeline.methods.unimatch_v2 import UniMatchV2

FAMILIES: dict[str, dict[str, type[SemiSupervised]]] = {
    "supervised": {"supervised": Supervised},
    "consistency": {
        "mean_teacher": MeanTeacher,
        "ua_mt": UncertaintyAwareMeanTeacher,
        "cutmix_seg": CutMixSeg,
        "cct": CCT,
    },
    "pseudo-labels, self-training": {
        "fixmatch": FixMatch,
        "freematch": FreeMatch,
        "flexmatch": FlexMatch,
        "softmatch": SoftMatch,
        "soft_teacher": SoftTeacher,
        "st_plus_plus": STPlusPlus,
        "cbst": CBST,
    },
    "pseudo-labels, mutual training": {"cps": CPS},
    "adversarial": {"adv_semi_seg": AdvSemiSeg, "s4gan": S4GAN},
    "contrastive": {"reco": ReCo, "u2pl": U2PL},
    "hybrid": {
        "unimatch_v1": UniMatchV1,
        "unimatch_v2": UniMatchV2,
        "augseg": AugSeg,
        "corrmatch": CorrMatch,
        "prevmatch": PrevMatch,
    },
}
METHODS = {name: method for family in FAMILIES.values() for name, method in family.items()}

__all__ = [
    "FAMILIES",
    "METHODS",
    "Batch",
    "Losses",
    "Method",
    "MethodSetup",
    "Network",
    "SemiSupervised",
    "StrongColour",
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
