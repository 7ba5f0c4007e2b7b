"""Day and dusk in one folder, and knobs for a training at the shift."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline import layout
from pipeline.config.params import NO_ADAPTATION, Params
from pipeline.records.manifest import write_manifest
from tests.pipeline.conftest import add_sample

OFF = NO_ADAPTATION.model_dump()
ALL: dict[str, Any] = {
    "batch_norm": "mixed",
    "target_share": 0.5,
    "cross_domain_mix": True,
    "masked_consistency": True,
    "mask_patch_px": 16,
    "fourier_beta": 0.1,
    "source_weight": 0.3,
    "warm_start": True,
    "warm_start_steps": 3,
    "warm_start_share": 0.25,
}


@pytest.fixture
def shifted(tmp_path: Path) -> Path:
    """Three labelled and two other day images; one labelled and three other dusk images."""
    root = tmp_path / "shifted"
    plan = [("day", True)] * 3 + [("day", False)] * 2 + [("dusk", True)] + [("dusk", False)] * 3
    samples = [
        add_sample(root, f"{domain}/{number:02}", "pool", number, masked=masked)
        for number, (domain, masked) in enumerate(plan)
    ]
    write_manifest(root / layout.MANIFEST, samples)
    return root


@pytest.fixture
def dusk_params(tiny_params) -> Callable[..., Params]:
    """`dusk_params(adapt, **blocks)`: dusk is the current domain; every pixel is reliable."""

    def make(adapt: dict[str, Any] | None = None, **blocks: dict[str, Any]) -> Params:
        train = {"monitor_share": 0.0, **blocks.pop("train", {})}
        method = {"confidence_threshold": 0.0, **blocks.pop("method", {})}
        params = tiny_params(train=train, method=method, adapt={**OFF, **(adapt or {})}, **blocks)
        domains = dict.fromkeys(("day", "dusk"), params.domains["day"])
        return params.model_copy(update={"domain": "dusk", "domains": domains})

    return make
