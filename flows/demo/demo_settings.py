"""What `make demo` plays with: its scenes, its knobs, and the person who answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.data.synthetic.domains import make_domain

DOMAINS = ("day", "dusk")
ROUNDS = 2  # answered queries of each domain
QUERY_SIZE = 8
SIZE: dict[str, Any] = {"height_px": 96, "width_px": 128}
NUM_LABELLED = {"day": 2, "dusk": 0}
COUNTS: dict[str, Any] = {"num_pool": 32, "num_val": 32}
ENCODER = "tu-mobilenetv2_050"
WEIGHTS = Path(__file__).with_name("street_encoder.safetensors")
ENCODER_SEED = 1000  # of the scenes that it has learnt from; those of a demo have smaller ones
# Everything that goes wrong with real people, at low rates.
RATES = (
    "boundary_noise_px=1",
    "wrong_class=0.05",
    "skip=0.06",
    "edit_after_submit=0.06",
    "double_submit=0.06",
    "undecodable=0.06",
)


def settings(seed: int) -> dict[str, Any]:
    """What the demo's params.yaml has other than the template.

    A probe, as the plan's profile quick has it on a CPU, so that a training takes seconds; but with
    Mean Teacher, for which few steps want a teacher that follows sooner and is believed sooner.
    """
    encoder = {"encoder": ENCODER, "encoder_weights": str(WEIGHTS)}
    return {
        "image": SIZE,
        "model": {"name": "probe", **encoder},
        "embed": encoder,
        "train": {"seed": seed, "steps": 250, "learning_rate": 1e-2},
        # A probe has learnt so soon that the last round's weights need no holding on to.
        "adapt": {"warm_start_rate": 1.0, "warm_start_share": 0.0},
        "method": {"ema_decay": 0.9, "confidence_threshold": 0.8},
        "acquire": {"query_size": QUERY_SIZE, "seed": seed},
        # Every answer before the next round, so that a seed's curves are the same each time.
        "loop": {"budget": QUERY_SIZE * ROUNDS, "close_at": 1.0},
    }


def draw_domain(name: str, truth: Path, seed: int) -> Path:
    """The folder of a domain's scenes under `truth`, drawn by the seed."""
    folder = truth / name
    make_domain(name, folder, seed=seed, num_labelled=NUM_LABELLED[name], **SIZE, **COUNTS)
    return folder
