"""Training a probe on kept features: its encoder is frozen, so that images are looked at once.

No augmentation: an image as it is, is what its features are of. B images, M cells, C channels, D
components, K classes, S parts of a cell, H height, W width, h and w the same in cells.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
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
BALANCED = 0.25  # share of them that is drawn class by class: what is thin has few cells
MOST_CELLS = 4_000_000  # of all labelled images: two thirds of a gigabyte of 80 components
Told = Callable[[int, Tensor], None]
"""(steps done, the loss of the last), after every step."""


@dataclass(frozen=True, kw_only=True)
class HeadTraining:
    """How a head is trained: AdamW, its rate falling along a cosine, on random cells."""

    steps: int
    learning_rate: float
    weight_decay: float
    loss: PixelLoss = cross_entropy
    balanced: float = 0.0
    """Share of a step's cells for which a class is drawn first, then a cell that has it."""
    weights_M: Tensor | None = None
    """How likely each cell is drawn beside these, in any unit; None: all alike."""


def train_head(
    head: Head, cells_MD: Tensor, classes_M: Tensor, how: HeadTraining, told: Told | None = None
) -> None:
    """Train `head` in place by labelled cells, which torch's global generator draws.

    `classes_M`, or classes_MS where each of a cell's S parts has a class, IGNORE where it has none.
    Without any cell nothing happens.
    """
    classes_MS = classes_M if classes_M.ndim > 1 else classes_M[:, None]
    draw = _Draw(classes_MS, how.balanced, how.weights_M)
    optimizer = torch.optim.AdamW(
        head.parameters(), lr=how.learning_rate, weight_decay=how.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, how.steps)
    for step in range(how.steps if len(classes_M) else 0):
        rows = draw.rows()
        logits_MKS = head(cells_MD[rows].float()).unflatten(1, (-1, classes_MS.shape[1]))
        loss = how.loss(logits_MKS.movedim(1, 0)[None], classes_MS[rows].long()[None])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if told is not None:
            told(step + 1, loss.detach())


class _Draw:
    """Which cells a step sees."""

    def __init__(self, classes_MS: Tensor, balanced: float, weights_M: Tensor | None) -> None:
        self._count = len(classes_MS)
        self._reach_M = None if weights_M is None else weights_M.double().cumsum(0)
        self._num_balanced = round(BATCH_CELLS * balanced)
        if self._num_balanced:
            present = [index for index in torch.unique(classes_MS).tolist() if index != IGNORE]
            having = [(classes_MS == index).any(dim=1).nonzero()[:, 0] for index in present]
            self._rows = torch.cat([*having, torch.zeros(0, dtype=torch.long)])
            self._sizes = torch.tensor([len(rows) for rows in having])
            self._starts = self._sizes.cumsum(0) - self._sizes

    def rows(self) -> Tensor:
        """Places of BATCH_CELLS cells."""
        rows = self._any(BATCH_CELLS - self._num_balanced)
        if not self._num_balanced:
            return rows
        kinds = torch.randint(len(self._sizes), (self._num_balanced,))
        places = (torch.rand(self._num_balanced, dtype=torch.double) * self._sizes[kinds]).long()
        return torch.cat([rows, self._rows[self._starts[kinds] + places]])

    def _any(self, num: int) -> Tensor:
        """Places of `num` cells, each drawn by its weight."""
        if self._reach_M is None:
            return torch.randint(self._count, (num,))
        reached = torch.rand(num, dtype=torch.double) * self._reach_M[-1]
        return torch.searchsorted(self._reach_M, reached, right=True).clamp(max=self._count - 1)


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
    train = params.train
    store = ImageStore(job.root, params.image, train.cache_mib, train.decoded_gib)
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
    """Half cells_MD and uint8 classes_MS of everything that is labelled, at most MOST_CELLS."""
    share = MOST_CELLS // max(1, len(job.labelled))
    cells: list[Tensor] = []
    classes: list[Tensor] = []
    with Progress("features of labelled images", len(job.labelled)) as progress:
        for number, sample in enumerate(job.labelled):
            found = _cells_of(sample, store, kept, device)
            cells_MD, classes_MS = (torch.cat(each) for each in zip(*found, strict=True))
            if len(classes_MS) > share:
                draw = generator(job.params.train.seed, NOISE, 1, number)
                rows = torch.randperm(len(classes_MS), generator=draw)[:share]
                cells_MD, classes_MS = cells_MD[rows], classes_MS[rows]
            cells.append(cells_MD)
            classes.append(classes_MS)
            progress.advance()
    return torch.cat(cells), torch.cat(classes)


def _cells_of(
    sample: Sample, store: ImageStore, kept: KeptFeatures, device: torch.device
) -> Iterable[tuple[Tensor, Tensor]]:
    """Half cells_MD and classes_MS of each tile's cells of which a part is labelled."""
    height, width = store.crop_size
    mask_HW = store.mask(sample)
    for place, pixels_CHW in cut(sample, store.image(sample), store.crop_size):
        pixels_BCHW = normalise(pixels_CHW[None].to(device), kept.normalisation)
        cells_Dhw = kept.cells([place], pixels_BCHW)[0]
        seen_HW = mask_HW[place.top : place.top + height, place.left : place.left + width]
        padded_HW = F.pad(
            seen_HW, (0, width - seen_HW.shape[1], 0, height - seen_HW.shape[0]), value=IGNORE
        )
        classes_hwS = part_classes(padded_HW, kept.parts)
        labelled_hw = (classes_hwS != IGNORE).any(dim=-1)
        yield cells_Dhw.movedim(0, -1)[labelled_hw].half(), classes_hwS[labelled_hw]


def part_classes(mask_HW: Tensor, parts: int) -> Tensor:
    """classes_hwS of the parts of every cell, row by row: of the pixel below and right of the
    centre of each."""
    side = CELL_PX // parts
    centres_HW = mask_HW[side // 2 :: side, side // 2 :: side]
    return F.pixel_unshuffle(centres_HW[None], parts).movedim(0, -1)


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
        balanced=BALANCED,
    )
    with Progress(job.stage, train.steps) as progress:

        def told(done: int, loss: Tensor) -> None:
            course.note(done, loss)
            progress.advance(note=course.history.note)

        train_head(network.cell_head(), *cells, how, told)
