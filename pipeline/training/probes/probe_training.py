"""Training a probe on kept features: its encoder is frozen, so that images are looked at once.

No augmentation: an image as it is, is what its features are of. B images, M cells, C channels, D
components, K classes, H height, W width, h and w the same in cells.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from pipeline.config.network import AUTO_RANDOM
from pipeline.data.augment import normalise
from pipeline.data.dataset import ImageStore
from pipeline.inference.kept_features import KeptFeatures
from pipeline.inference.tiles import cut
from pipeline.methods.shared.losses import PixelLoss, cross_entropy
from pipeline.models import build_model
from pipeline.models.probe import CELL_PX, Head, Probe
from pipeline.records.manifest import Sample
from pipeline.runtime.devices import require_device
from pipeline.runtime.progress import Progress, say
from pipeline.training.batches import INITIAL_WEIGHTS, NOISE, derive_seed, generator
from pipeline.training.class_balance import class_weights
from pipeline.training.curves import History
from pipeline.training.method_setup import TrainingJob
from pipeline.training.monitor import Guard, Monitor
from pipeline.training.probes.probe_choice import PROBE
from pipeline.training.probes.probe_components import fit_components
from pipeline.training.snapshots import Snapshots
from pipeline.training.supervised_loss import build_pixel_loss
from pipeline.training.trainer import Trained
from pipeline.types import IGNORE

BATCH_CELLS = 2048
MOST_CELLS = 4_000_000  # of all labelled images: half a gigabyte of 64 components
Told = Callable[[int, Tensor], None]
"""(steps done, the loss of the last), after every step."""


@dataclass(frozen=True, kw_only=True)
class HeadTraining:
    """How a head is trained: AdamW, its rate falling along a cosine, on random cells."""

    steps: int
    learning_rate: float
    weight_decay: float
    loss: PixelLoss = cross_entropy


def train_head(
    head: Head, cells_MD: Tensor, classes_M: Tensor, how: HeadTraining, told: Told | None = None
) -> None:
    """Train `head` in place by labelled cells, which torch's global generator draws; without any
    nothing happens."""
    optimizer = torch.optim.AdamW(
        head.parameters(), lr=how.learning_rate, weight_decay=how.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, how.steps)
    for step in range(how.steps if len(classes_M) else 0):
        rows = torch.randint(len(classes_M), (BATCH_CELLS,))
        logits_MK = head(cells_MD[rows].float())
        loss = how.loss(logits_MK.T[None, :, :, None], classes_M[rows].long()[None, :, None])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if told is not None:
            told(step + 1, loss.detach())


def trains_on_features(job: TrainingJob) -> bool:
    """Whether labels alone teach a probe, so that no image has to be seen twice."""
    params = job.params
    return (
        params.model.name == PROBE
        and params.method.name == "supervised"
        and not job.adaptation.domain
    )


def train_probe(job: TrainingJob) -> Trained:
    """A probe of `job.params`, trained on the cells of its labelled images.

    The same job gives the same weights on a CPU. A killed one begins anew, with what it kept of
    features: those take longer than the training.
    """
    params = job.params
    require_device(params.train)
    if params.model.encoder_weights in (None, AUTO_RANDOM):
        say(
            f"{job.stage}: model.encoder_weights: a probe of a random encoder learns little; "
            "`ssl-loop weights add FILE`, or fetch NAME"
        )
    device = Fabric(accelerator=params.train.device, devices=1).device
    store = ImageStore(job.root, params.image, params.train.cache_mib)
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(params.train.seed, INITIAL_WEIGHTS, 0))
        network = build_model(params.model, params.num_classes)
        assert isinstance(network, Probe)
        fit_components(network, job.root, params, job.described)
        network = network.to(device).eval()
        kept = KeptFeatures(
            job.root, network, params.image, params.model.normalisation, params.train.features_gib
        )
        kept.drop_others()
        cells_MD, classes_M = _labelled_cells(job, store, kept, device)
        network.cpu()
        torch.manual_seed(derive_seed(params.train.seed, NOISE, 0))
        course = _Course(job, store, network)
        weights_K = class_weights(store, job.labelled, params)
        _train(job, network, (cells_MD, classes_M), weights_K, course)
    beside = course.snapshots.beside(None) if job.keep_snapshots else {}
    return Trained(network.eval(), course.history, course.monitor, Guard(0.0), True, beside)


def _labelled_cells(
    job: TrainingJob, store: ImageStore, kept: KeptFeatures, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Half cells_MD and uint8 classes_M of everything that is labelled, at most MOST_CELLS."""
    share = MOST_CELLS // max(1, len(job.labelled))
    cells: list[Tensor] = []
    classes: list[Tensor] = []
    with Progress("features of labelled images", len(job.labelled)) as progress:
        for number, sample in enumerate(job.labelled):
            found = _cells_of(sample, store, kept, device)
            cells_MD, classes_M = (torch.cat(each) for each in zip(*found, strict=True))
            if len(classes_M) > share:
                draw = generator(job.params.train.seed, NOISE, 1, number)
                rows = torch.randperm(len(classes_M), generator=draw)[:share]
                cells_MD, classes_M = cells_MD[rows], classes_M[rows]
            cells.append(cells_MD)
            classes.append(classes_M)
            progress.advance()
    return torch.cat(cells), torch.cat(classes)


def _cells_of(
    sample: Sample, store: ImageStore, kept: KeptFeatures, device: torch.device
) -> Iterable[tuple[Tensor, Tensor]]:
    """Half cells_MD and classes_M of the labelled cells of each tile."""
    height, width = store.crop_size
    mask_HW = store.mask(sample)
    for place, pixels_CHW in cut(sample, store.image(sample), store.crop_size):
        pixels_BCHW = normalise(pixels_CHW[None].to(device), kept.normalisation)
        cells_Dhw = kept.cells([place], pixels_BCHW)[0]
        seen_HW = mask_HW[place.top : place.top + height, place.left : place.left + width]
        # A cell's class is that of the pixel below and right of its centre.
        classes_hw = seen_HW[CELL_PX // 2 :: CELL_PX, CELL_PX // 2 :: CELL_PX]
        rows, columns = classes_hw.shape
        labelled_hw = classes_hw != IGNORE
        cells_hwD = cells_Dhw[:, :rows, :columns].movedim(0, -1)
        yield cells_hwD[labelled_hw].half(), classes_hw[labelled_hw]


class _Course:
    """What is seen along the way: the loss, a look at val images, snapshots."""

    def __init__(self, job: TrainingJob, store: ImageStore, network: Probe) -> None:
        self.job = job
        self.history = History()
        self.snapshots = Snapshots(job.params.train.steps, 1, [])
        self.monitor = Monitor(
            store=store,
            params=job.params,
            samples=job.monitored,
            device=torch.device("cpu"),
            points=[],
        )
        self._network = network
        self._seen = _SeenBefore(network)

    def note(self, done: int, loss: Tensor) -> None:
        self.history.append({"loss": loss})
        if self.job.keep_snapshots:
            self.snapshots.take(self._network, done)
        if self.monitor.due(done):
            self.monitor.points.append(self.monitor.look(self._seen, done))


class _SeenBefore(nn.Module):
    """A probe that looks at each batch of images once: the monitor shows it the same every time."""

    def __init__(self, network: Probe) -> None:
        super().__init__()
        self.network = network
        self._cells: dict[bytes, Tensor] = {}

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """As the network's."""
        key = hashlib.sha256(images_BCHW.numpy().tobytes()).digest()
        if key not in self._cells:
            self._cells[key] = self.network.cells(images_BCHW).half()
        return self.network.classify_cells(self._cells[key].float(), like=images_BCHW)


def _train(
    job: TrainingJob,
    network: Probe,
    cells: tuple[Tensor, Tensor],
    weights_K: Tensor | None,
    course: _Course,
) -> None:
    train = job.params.train
    if train.rare_class_sampling:
        say(
            f"{job.stage}: train.rare_class_sampling: a probe draws cells, not images; "
            "train.class_weights: sqrt_inverse weighs rare classes more"
        )
    how = HeadTraining(
        steps=train.steps,
        learning_rate=train.learning_rate,
        weight_decay=train.weight_decay,
        loss=build_pixel_loss(train, weights_K),
    )
    with Progress(job.stage, train.steps) as progress:

        def told(done: int, loss: Tensor) -> None:
            course.note(done, loss)
            progress.advance(note=course.history.note)

        train_head(network.cell_head(), *cells, how, told)
