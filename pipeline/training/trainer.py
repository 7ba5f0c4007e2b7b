"""The one training loop: a method gives losses, the loop steps, looks, logs, saves.

Five hooks are all that it knows of a method (`Method` in pipeline/methods/shared/protocol.py):

                 batch t, from (seed, t) alone               Batches.at
                        |
      +---------------->|
      |                 v
      |   1  method(batch, t)  ->  losses, weighed           forward; what a method adds: learn
      |                 |
      |                 |  their sum; backward; the optimiser's step
      |                 v
      |   2  method.after_step(t)                            its teacher follows the student
      |                 |
      |                 |  at every monitor_share of the steps
      |                 v
      |   3  method.result()  ->  a network                  looked at on val, and kept at the end
      |                 |
      |                 |  only where the mIoU on val has long been below its best
      |                 v
      |   4  method.restart()                                unlabelled images teach half as much
      |                 |
      +--- t + 1 -------+
                        |  after the last step
                        v
          5  method.learner()  ->  a network or None         the student, kept beside its average
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, nn

from pipeline.config.params import TrainParams
from pipeline.data.dataset import ImageStore
from pipeline.methods import Losses, Method
from pipeline.methods.shared.protocol import phase_length
from pipeline.models.encoders import freeze_batch_norm
from pipeline.runtime.progress import Progress, say
from pipeline.training.batches import NOISE, Batches, Process, derive_seed
from pipeline.training.checkpoints import Checkpoints, State
from pipeline.training.class_balance import rare_classes
from pipeline.training.curves import History
from pipeline.training.method_setup import TrainingJob as TrainingJob
from pipeline.training.method_setup import new_method
from pipeline.training.monitor import Guard, Monitor
from pipeline.training.snapshots import Snapshots, Weights

POLY_POWER = 0.9  # of the learning rate's decay, as in DeepLab


@dataclass(frozen=True)
class Trained:
    """The network to keep and the curves; `main` is False in all processes but one."""

    network: nn.Module
    history: History
    monitor: Monitor
    guard: Guard
    main: bool
    beside: dict[str, Weights]
    """Other weights of the network, by name."""


def train(job: TrainingJob, checkpoints: Checkpoints) -> Trained:
    """Train to the last step, from the checkpoint if there is one.

    On CPU the same job gives the same weights, bit for bit, interrupted or not.
    """
    fabric = _fabric(job.params.train)
    fabric.launch()
    with _deterministic(fabric.device):
        run = _set_up(job, fabric, checkpoints.load())
        run.steps(checkpoints)
    method = run.method
    beside = run.snapshots.beside(method.learner()) if job.keep_snapshots else {}
    return Trained(
        method.result(), run.history, run.monitor, run.guard, fabric.is_global_zero, beside
    )


@dataclass(frozen=True, kw_only=True)
class _Run:
    """A training under way. `method` and `module` are the same network, bare and as Fabric's."""

    job: TrainingJob
    fabric: Fabric
    batches: Batches
    method: Method
    module: Callable[..., Losses]
    optimizer: Any
    phase_steps: int
    done: int
    """Steps that the checkpoint had behind it."""
    history: History
    monitor: Monitor
    guard: Guard
    snapshots: Snapshots

    def step(self, step: int) -> dict[str, Tensor]:
        """One step of the optimiser, number `step` from 0: the loss, its terms, what is logged."""
        params = self.job.params.train
        torch.manual_seed(derive_seed(params.seed, NOISE, step, self.fabric.global_rank))
        if step % self.phase_steps == 0:
            self.optimizer.state.clear()  # it remembers nothing of the phase before
        share = learning_rate_share(step, self.phase_steps, warmup_share=params.warmup_share)
        for group in self.optimizer.param_groups:
            group["lr"] = group["full_lr"] * share
        losses = self.module(self.batches.at(step), step)
        loss = torch.stack(list(losses.terms.values())).sum()
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        self.optimizer.step()
        self.method.after_step(step)
        return {"loss": loss, **losses.terms, **losses.logs}

    def steps(self, checkpoints: Checkpoints) -> None:
        """All that are left, with what comes between two of them."""
        params = self.job.params.train
        self.method.train()
        if self.job.params.model.freeze_batch_norm:
            freeze_batch_norm(cast(nn.Module, self.method))
        started = saved_at = time.monotonic()
        with self._progress() as progress:
            for step in range(self.done, params.steps):
                self.history.append(self.step(step))
                if self.job.keep_snapshots:
                    self.snapshots.take(self.method.result(), step + 1)
                if self.monitor.due(step + 1):
                    self._look(step + 1)
                progress.advance(note=self.history.note)
                if time.monotonic() - saved_at >= params.checkpoint_every_s:
                    self._save(step + 1, checkpoints)
                    saved_at = time.monotonic()
        if self.monitor.seconds:
            share = self.monitor.seconds / (time.monotonic() - started)
            self._say(f"looking at {len(self.monitor.samples)} val images took {share:.1%} of it")

    def _look(self, done: int) -> None:
        # One process looks for all: batch-norm statistics differ between them, decisions must not.
        main = self.fabric.is_global_zero
        seen = self.monitor.look(self.method.result(), done) if main else {}
        point = self.fabric.broadcast(seen)
        self.monitor.points.append(point)
        if self.guard.trips(point):
            self.method.restart()
            self._say(
                f"guard: after step {done} the mIoU on val is {point['miou']:.3f}, long below its "
                f"best, {self.guard.best:.3f}; the consistency weight is now "
                f"{self.guard.events[-1]['weight']:g}, the teacher restarts from the student"
            )

    def _say(self, text: str) -> None:
        if self.fabric.is_global_zero:
            say(f"{self.job.stage}: {text}")

    def _save(self, done: int, checkpoints: Checkpoints) -> None:
        columns = self.history.columns()
        if self.fabric.is_global_zero:
            state = self.optimizer.state_dict()
            points, kept = self.monitor.points, self.snapshots.kept
            checkpoints.save(State(done, self.method.state_dict(), state, columns, points, kept))

    def _progress(self) -> Progress:
        stream = None if self.fabric.is_global_zero else io.StringIO()  # one process speaks
        steps = self.job.params.train.steps
        return Progress(self.job.stage, steps, done=self.done, stream=stream)


def learning_rate_share(step: int, phase_steps: int, *, warmup_share: float) -> float:
    """Linear rise over warmup_share, times polynomial decay; above 0 at every step.

    A method in phases goes through it once in each.
    """
    step %= phase_steps
    rise = min((step + 1) / (warmup_share * phase_steps + 1), 1.0)
    return rise * (1.0 - step / phase_steps) ** POLY_POWER


def _set_up(job: TrainingJob, fabric: Fabric, state: State | None) -> _Run:
    """A training before its first step, or where the checkpoint left it."""
    steps = job.params.train.steps
    train = job.params.train
    store = ImageStore(job.root, job.params.image, train.cache_mib, train.decoded_gib)
    method = new_method(job, store, fabric.device)
    optimizer: Any = torch.optim.AdamW(_parameter_groups(method, job.params.train), fused=True)
    if state is not None:
        method.load_state_dict(state.method)
        optimizer.load_state_dict(state.optimizer)
        if state.step:
            say(f"{job.stage}: resumed at step {state.step}")
    monitor = _new_monitor(job, store, fabric.device, state)
    module, optimizer = fabric.setup(cast(nn.Module, method), optimizer)
    return _Run(
        job=job,
        fabric=fabric,
        batches=_batches(job, store, method, fabric),
        method=method,
        module=module,
        optimizer=optimizer,
        phase_steps=phase_length(steps, method.num_phases),
        done=state.step if state else 0,
        history=History(state.history if state else None),
        monitor=monitor,
        guard=Guard(_guarded_weight(job, method), monitor.points),
        snapshots=Snapshots(steps, method.num_phases, list(state.snapshots) if state else []),
    )


def _batches(job: TrainingJob, store: ImageStore, method: Method, fabric: Fabric) -> Batches:
    return Batches(
        store=store,
        params=job.params,
        labelled=job.labelled,
        unlabelled=job.unlabelled,
        num_strong_views=method.num_strong_views,
        strong_colour=method.strong_colour,
        device=fabric.device,
        process=Process(fabric.global_rank, fabric.world_size),
        rare_classes=rare_classes(store, job.labelled, job.params, job.adaptation),
        adaptation=job.adaptation,
    )


def _new_monitor(
    job: TrainingJob, store: ImageStore, device: torch.device, state: State | None
) -> Monitor:
    return Monitor(
        store=store,
        params=job.params,
        samples=job.monitored,
        device=device,
        points=list(state.points) if state else [],
    )


def _guarded_weight(job: TrainingJob, method: Method) -> float:
    """The consistency weight to watch over; 0 where nothing unlabelled teaches, or by choice."""
    params = job.params.method
    teaches = bool(job.unlabelled) and method.num_strong_views > 0
    return params.consistency_weight if params.guard and teaches else 0.0


def _parameter_groups(method: Method, params: TrainParams) -> list[dict[str, Any]]:
    """Encoder, the rest, and what the method rates by name, each with its full learning rate.

    A rate of 0 freezes the encoder.
    """
    encoder_rate, rest_rate = params.encoder_learning_rate, params.learning_rate
    groups: dict[str, tuple[list[nn.Parameter], float]] = {
        "encoder": ([], encoder_rate),
        "rest": ([], rest_rate),
        **{name: ([], rate) for name, rate in method.learning_rates.items()},
    }
    for name, p in method.named_parameters():
        if not p.requires_grad:
            continue
        first, *parts = name.split(".")
        group = (
            first if first in method.learning_rates else "encoder" if "encoder" in parts else "rest"
        )
        groups[group][0].append(p)
    return [
        {"params": members, "lr": rate, "full_lr": rate, "weight_decay": params.weight_decay}
        for members, rate in groups.values()
    ]


def _fabric(params: TrainParams) -> Fabric:
    # Batch-norm buffers are not sent round before every step: rank 0's are the ones kept. Some
    # encoders carry layers that a shallow decoder leaves unused, hence the search for them.
    one = params.num_devices == 1
    strategy = "auto" if one else DDPStrategy(broadcast_buffers=False, find_unused_parameters=True)
    return Fabric(
        accelerator=params.device,
        devices=params.num_devices,
        strategy=strategy,
        precision=params.precision,
    )


@contextmanager
def _deterministic(device: torch.device) -> Iterator[None]:
    """Give torch's global generator back as it was; same sums in the same order."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        yield
