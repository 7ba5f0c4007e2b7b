"""All logits of an image at once, which small images of tests allow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from pipeline.data.dataset import ImageStore
from pipeline.inference.kept_features import KeptFeatures
from pipeline.inference.logits import network_of, views_of
from pipeline.inference.tiles import Band, View
from pipeline.models import LoadedModel
from pipeline.records.manifest import Sample


def whole(bands: Iterable[dict[View, Band]]) -> dict[View, Tensor]:
    """All rows of every view; they must follow each other."""
    found = list(bands)
    for view in found[0]:
        firsts = [each[view].first for each in found]
        assert firsts == [0, *(each[view].end for each in found[:-1])]
        assert found[-1][view].end == found[-1][view].height
    return {view: torch.cat([each[view].values_KRW for each in found], 1) for view in found[0]}


def logits_of(
    model: LoadedModel,
    samples: Sequence[Sample],
    store: ImageStore,
    device: torch.device,
    kept: KeptFeatures | None = None,
) -> Iterator[tuple[Sample, Tensor]]:
    """Each sample with its logits_KHW at the size it is seen at."""
    network = network_of(model, device)
    view: View = network if kept is None else kept.view
    for sample, bands in views_of(model, [view], samples, store, device):
        yield sample, whole(bands)[view]
