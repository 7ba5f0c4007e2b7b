"""Every method learns four labelled images by heart: no loss works against the labels."""

from __future__ import annotations

import pytest
import torch

from pipeline import layout
from pipeline.data.augment import normalise
from pipeline.data.dataset import ImageStore
from pipeline.methods import METHODS
from pipeline.metrics.iou import confusion_matrix, iou_per_class, mean_iou
from pipeline.records.manifest import read_manifest
from pipeline.training import TrainingJob, train
from pipeline.training.checkpoints import Checkpoints
from pipeline.training.domain_adaptation.enabled import Adaptation, enabled

pytestmark = pytest.mark.heavy

IN_CI = ("supervised", "fixmatch", "unimatch_v2")
NUM_STEPS = 150


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in IN_CI else pytest.mark.slow) for name in METHODS],
)
def test_four_images_are_learnt_by_heart(make_workspace, tiny_params, name: str) -> None:
    root = make_workspace(4, 6, val=0)
    params = tiny_params(
        model={"name": "unet", "options": {"decoder_channels": [32, 24, 16, 16, 8]}},
        train={"steps": NUM_STEPS, "learning_rate": 3e-3, "encoder_learning_rate": 3e-3},
        method={"name": name, "confidence_threshold": 0.95, "rampup_share": 0.1},
    )
    samples = read_manifest(root / layout.MANIFEST)
    job = TrainingJob(
        root=root,
        stage="train_teacher",
        params=enabled(params, Adaptation(), method_name=name, warm=False),
        labelled=tuple(s for s in samples if s.labelled),
        unlabelled=tuple(s for s in samples if s.unlabelled),
    )
    network = train(job, Checkpoints(root, "train_teacher-0")).network.eval()
    store = ImageStore(root, params.image, cache_mib=0)
    confusion_KK = torch.zeros(params.num_classes, params.num_classes, dtype=torch.int64)
    with torch.inference_mode():
        for sample in job.labelled:
            image_BCHW = normalise(store.image(sample)[None], params.model.normalisation)
            predicted_HW = network(image_BCHW)[0].argmax(dim=0)
            confusion_KK += confusion_matrix(predicted_HW, store.mask(sample), params.num_classes)
    ious = iou_per_class(confusion_KK)
    assert (mean_iou(ious) or 0.0) > 0.9, ious
