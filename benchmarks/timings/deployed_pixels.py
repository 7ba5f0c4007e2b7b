"""Whether predict and serve say on CamVid what the model says in the loop.

`python -m benchmarks.timings.deployed_pixels --data DIR`. A U-Net learns from NUM_LABELLED images
at half scale for STEPS steps; the stage `predict` writes pseudo-labels of 200. Then `ssl-loop
predict` and the answer of `ssl-loop serve` are set beside them pixel for pixel.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.support import RESULTS, machine, table
from pipeline import layout
from pipeline.config.params import Params, parse_params
from pipeline.data.formats import read_classes
from pipeline.deploy.deployed_model import DeployedModel, ModelChoice
from pipeline.deploy.folder_run import Outputs, folder_run
from pipeline.deploy.one_image import answer
from pipeline.files import sha256_file, write_text
from pipeline.records.manifest import Sample, write_manifest
from pipeline.stages import predict, train_teacher

NUM_IMAGES, NUM_LABELLED, STEPS, NUM_SERVED = 200, 24, 60, 20


def workspace(root: Path, data: Path) -> list[Sample]:
    """200 images of both domains, spread over what there is, the first of them labelled."""
    with (data / "splits.csv").open(newline="") as file:
        names = sorted(row["id"] for row in csv.DictReader(file))
    chosen = [names[number * len(names) // NUM_IMAGES] for number in range(NUM_IMAGES)]
    labelled = set(chosen[:: NUM_IMAGES // NUM_LABELLED][:NUM_LABELLED])
    samples = []
    for name in chosen:
        image, mask = layout.images_dir("camvid") / f"{name}.jpg", data / f"masks/{name}.png"
        (root / image).parent.mkdir(parents=True, exist_ok=True)
        (root / image).symlink_to(data / f"images/{name}.jpg")
        kept = layout.masks_dir("camvid") / f"{name}.png"
        if name in labelled:
            (root / kept).parent.mkdir(parents=True, exist_ok=True)
            (root / kept).symlink_to(mask)
        samples.append(
            Sample(
                sample_id=f"camvid/{name}",
                domain="camvid",
                split="pool",
                image=image.as_posix(),
                image_sha256=sha256_file(root / image),
                mask=kept.as_posix() if name in labelled else "",
                mask_sha256=sha256_file(mask) if name in labelled else "",
                origin="ground_truth" if name in labelled else "",
            )
        )
    write_manifest(root / layout.MANIFEST, samples)
    return samples


def pixels(path: Path) -> Any:
    """A PNG's values."""
    with Image.open(path) as image:
        return np.asarray(image)


def compared(root: Path, samples: list[Sample]) -> list[dict[str, Any]]:
    """Rows: what was set beside the pseudo-labels, images, pixels, pixels that differ."""
    choice = ModelChoice(folder=root / layout.TEACHER)
    images = [root / sample.image for sample in samples]
    labels = [pixels(root / layout.sample_png(layout.PSEUDO_LABELS, s.sample_id)) for s in samples]
    began = time.process_time()
    with folder_run(choice, Outputs(out=root / "out")) as run:
        run.take(images)
    seconds = time.process_time() - began
    found = [pixels(root / f"out/masks/{path.stem}.png") for path in images]
    rows = [row("ssl-loop predict", labels, found, seconds)]
    model, began = DeployedModel(choice), time.process_time()
    served = []
    for number, path in enumerate(images[:NUM_SERVED]):
        mask = root / f"{number}.png"
        mask.write_bytes(answer(model, path, "mask", 50.0))
        served.append(pixels(mask))
    seconds = time.process_time() - began
    return [*rows, row("the answer of ssl-loop serve", labels[:NUM_SERVED], served, seconds)]


def row(what: str, labels: list[Any], found: list[Any], seconds: float) -> dict[str, Any]:
    """Of the table."""
    differ = sum(int((one != other).sum()) for one, other in zip(labels, found, strict=True))
    return {
        "set beside the pseudo-labels": what,
        "images": len(labels),
        "pixels": sum(label.size for label in labels),
        "pixels that differ": differ,
        "CPU s": round(seconds, 1),
    }


def settings(data: Path) -> Params:
    """Of the training and the stage."""
    weights = data / "encoders/mobilenetv2_100_in1k_fp16.safetensors"
    return parse_params(
        {
            "classes": list(read_classes(data / "camvid/classes.csv")),
            "domain": "camvid",
            "domains": {"camvid": {}},
            "image": {"height_px": 160, "width_px": 192, "scale": 0.5},
            "model": {
                "name": "unet",
                "encoder_weights": str(weights),
                "normalisation": "symmetric",
                "encoder_options": {"pad_type": "same"},
            },
            "train": {"steps": STEPS, "batch_labelled": 4},
            "method": {"name": "supervised"},
        }
    )


def main() -> None:
    """Train, compare, write benchmarks/results/deployed_pixels.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="camvid/ and encoders/ are there")
    parser.add_argument("--model", type=Path, help="kept by an earlier run")
    parser.add_argument("--keep", type=Path, help="a new folder to keep the model in")
    asked = parser.parse_args()
    data = asked.data.resolve()
    params = settings(data)
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        samples = workspace(root, data / "camvid")
        if asked.model:
            shutil.copytree(asked.model, root / layout.TEACHER)
        else:
            train_teacher.run(root, params)
        if asked.keep:
            shutil.copytree(root / layout.TEACHER, asked.keep)
        began = time.process_time()
        predict.run(root, params)
        seconds = time.process_time() - began
        rows = compared(root, samples)
    text = [
        "# The same pixels outside of the loop",
        "",
        "`python -m benchmarks.timings.deployed_pixels --data DIR`: "
        f"a U-Net after {STEPS} steps on {NUM_LABELLED} CamVid images of 360x480 at half scale, in "
        f"tiles of 160x192; {machine()}. The stage `predict` took {seconds:.1f} CPU s for "
        f"{NUM_IMAGES} images, with confidence, uncertainty and scores of each.",
        "",
        *table(rows),
        "",
    ]
    write_text(RESULTS / "deployed_pixels.md", "\n".join(text))
    print("\n".join(text))


if __name__ == "__main__":
    main()
