"""What a training step costs beyond the passes that it cannot do without.

`python -m benchmarks.timings.step_cost`: a step of the method (losses, backward, optimiser,
teacher) and the bare passes over the same images, alternately in one process, and what making the
batch takes beside it. For a quiet machine: on a busy one ratios moved by a fifth. Writes
step_cost.{json,md}.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.support import RESULTS, machine, table
from pipeline import layout
from pipeline.backtest import take_in
from pipeline.config.params import Params, parse_params
from pipeline.data.dataset import ImageStore
from pipeline.data.ingest import validate_and_stage
from pipeline.data.synthetic.domains import CLASSES, make_domain
from pipeline.files import write_json, write_text
from pipeline.methods import Batch, Method, MethodSetup, build_method
from pipeline.methods.shared.losses import labelled_loss
from pipeline.models import build_model
from pipeline.records.manifest import read_manifest
from pipeline.training.batches import Batches, WholeSet

METHODS_MEASURED = ("fixmatch", "unimatch_v2")
BAR = 1.15
WARM_UP = 3
NUM_CLASSES = 11  # as in street scenes: losses and softmax cost by the class


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=40, help="counted steps of each")
    parser.add_argument("--model", default="pspnet_mini")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = lay_out(Path(folder), 128, 160, num_labelled=8, num_pool=8)
        rows = [measure(root, name, args.model, args.steps) for name in METHODS_MEASURED]
    write_json(RESULTS / "step_cost.json", rows)
    lines = [
        "# A training step against its bare passes",
        "",
        f"`python -m benchmarks.timings.step_cost`: {args.model}, 128x160, {NUM_CLASSES} classes, "
        f"4 labelled and 4 unlabelled images, {args.steps} steps of each, alternately; "
        f"medians. {machine()}. Bar: a ratio of {BAR}.",
        "",
        *table(rows),
        "",
    ]
    write_text(RESULTS / "step_cost.md", "\n".join(lines))
    print("\n".join(lines))


def lay_out(
    folder: Path, height_px: int, width_px: int, *, num_labelled: int, num_pool: int
) -> Path:
    """A plain folder of synthetic streets by day, as a stage reads it."""
    truth, root = folder / "truth", folder / "root"
    make_domain(
        "day",
        truth,
        num_labelled=num_labelled,
        num_pool=num_pool,
        num_val=0,
        height_px=height_px,
        width_px=width_px,
    )
    validate_and_stage(
        name="day",
        images=truth / "images",
        masks=truth / "masks",
        splits=truth / "splits.csv",
        classes=CLASSES,
        existing_domains=(),
        destination=folder / "incoming",
    )
    root.mkdir()
    take_in(root, folder / "incoming" / "day")
    return root


def measure(root: Path, name: str, model: str, num_steps: int) -> dict[str, Any]:
    """Median milliseconds of a step and of its bare passes, and their ratio step by step."""
    params = parse_params(
        {
            "classes": [*CLASSES, *(f"absent {k}" for k in range(NUM_CLASSES - len(CLASSES)))],
            "domains": {"day": {}},
            "image": {"height_px": 128, "width_px": 160},
            "model": {"name": model},
            "method": {"name": name, "confidence_threshold": 0.5},
        }
    )
    batches, method = prepare(root, params)
    learning = [p for _, p in method.named_parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, fused=True)
    times: dict[str, list[float]] = {"batch": [], "step": [], "bare": []}
    for index in range(num_steps + WARM_UP):
        batch, seconds = timed(partial(batches.at, index))
        times["batch"].append(seconds)
        times["step"].append(timed(partial(step, method, optimizer, batch, index))[1])
        times["bare"].append(timed(partial(bare, method, batch))[1])
    kept = {key: values[WARM_UP:] for key, values in times.items()}
    ratios = [one / other for one, other in zip(kept["step"], kept["bare"], strict=True)]
    return {
        "method": name,
        **{f"{key} ms": round(1000 * statistics.median(kept[key]), 1) for key in kept},
        "step / bare": round(statistics.median(ratios), 3),
        "with batch / bare": round(
            statistics.median(kept["step"]) / statistics.median(kept["bare"])
            + statistics.median(kept["batch"]) / statistics.median(kept["bare"]),
            3,
        ),
    }


def prepare(root: Path, params: Params) -> tuple[Batches, Method]:
    """The stream of batches and the method, as the training loop makes them."""
    samples = read_manifest(root / layout.MANIFEST)
    store = ImageStore(root, params.image, params.train.cache_mib)
    device = torch.device("cpu")
    unlabelled = [sample for sample in samples if sample.unlabelled]
    method = build_method(
        params.method.name,
        MethodSetup(
            params=params.method,
            num_classes=params.num_classes,
            num_steps=1000,
            new_network=lambda _: build_model(params.model, params.num_classes),
            labelled_loss=labelled_loss,
            unlabelled=WholeSet(store=store, params=params, samples=unlabelled, device=device),
        ),
    )
    method.train()
    batches = Batches(
        store=store,
        params=params,
        labelled=[sample for sample in samples if sample.labelled],
        unlabelled=unlabelled,
        num_strong_views=method.num_strong_views,
        device=device,
    )
    return batches, method


def step(method: Method, optimizer: torch.optim.Optimizer, batch: Batch, index: int) -> None:
    """What the training loop does with a batch."""
    losses = method(batch, index)
    loss = torch.stack(list(losses.terms.values())).sum()
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    method.after_step(index)


def bare(method: Any, batch: Batch) -> None:
    """The same images through the same networks; the weak ones without backward."""
    assert batch.unlabelled is not None
    student: nn.Module = method.student
    passes(student, batch.images_BCHW)
    with torch.no_grad():
        method.teacher.network(batch.unlabelled.weak_BCHW)
    passes(student, torch.cat([view.images_BCHW for view in batch.unlabelled.strong]))
    student.zero_grad()


def passes(network: nn.Module, images_BCHW: torch.Tensor) -> None:
    """Forward and backward, with the cheapest of losses."""
    logits_BKHW: torch.Tensor = network(images_BCHW)
    logits_BKHW.backward(torch.ones_like(logits_BKHW))  # type: ignore[no-untyped-call]


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What it returns, and seconds."""
    started = time.perf_counter()
    found = work()
    return found, time.perf_counter() - started


if __name__ == "__main__":
    main()
