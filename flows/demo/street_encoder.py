"""The demo's pretrained encoder: `make encoder`, about ten minutes on two cores.

It learns from day scenes of a seed that no demo draws, with their masks, and has seen no dusk. What
comes of it lies in the repository, beside this file, in half precision: a megabyte.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from flows.demo.demo_settings import DOMAINS, ENCODER, ENCODER_SEED, SIZE, WEIGHTS
from pipeline import layout
from pipeline.config.params import Params, parse_params
from pipeline.data.ingest import validate_and_stage
from pipeline.data.synthetic.domains import CLASSES, make_domain
from pipeline.files import sha256_file
from pipeline.runtime.torch_settings import settle_torch

NUM_SCENES, STEPS = 1600, 1500


def main() -> None:
    """Draw, train, keep."""
    with tempfile.TemporaryDirectory(prefix="ssl-loop-encoder-") as folder:
        make_encoder(Path(folder), WEIGHTS)
    print(f"{WEIGHTS}: {WEIGHTS.stat().st_size} bytes, SHA-256 {sha256_file(WEIGHTS)}")


def make_encoder(
    folder: Path, out: Path, *, num_scenes: int = NUM_SCENES, steps: int = STEPS
) -> None:
    """Write `out`, a safetensors file of `ENCODER`, trained within `folder` on so many scenes."""
    settle_torch()
    from pipeline.backtest import take_in
    from pipeline.models import load_model, save_encoder_weights
    from pipeline.models.segmenter import Segmenter
    from pipeline.stages import train_baseline

    (name, *_), scenes, root = DOMAINS, folder / "scenes", folder / "root"
    make_domain(
        name, scenes, seed=ENCODER_SEED, num_labelled=num_scenes, num_pool=0, num_val=0, **SIZE
    )
    validate_and_stage(
        name=name,
        images=scenes / "images",
        masks=scenes / "masks",
        splits=scenes / "splits.csv",
        classes=CLASSES,
        existing_domains=(),
        destination=folder / "incoming",
        accept=True,  # whatever they look like, nobody is asked about them
    )
    take_in(root, folder / "incoming" / name)
    train_baseline.run(root, recipe(name, steps))
    network = load_model(root / layout.BASELINE).network
    assert isinstance(network, Segmenter)  # trained, for its scenes are labelled
    save_encoder_weights(network.encoder, out)


def recipe(domain: str, steps: int) -> Params:
    """A U-Net from random weights, by labels alone."""
    rate = 3e-3
    return parse_params(
        {
            "classes": list(CLASSES),
            "domain": domain,
            "domains": {domain: {}},
            "image": SIZE,
            "model": {
                "name": "unet",
                "encoder": ENCODER,
                "options": {"decoder_channels": [64, 48, 32, 24, 16]},
            },
            "train": {
                "steps": steps,
                "batch_labelled": 8,
                "learning_rate": rate,
                "encoder_learning_rate": rate,
            },
            "method": {"name": "supervised"},
        }
    )


if __name__ == "__main__":
    main()
