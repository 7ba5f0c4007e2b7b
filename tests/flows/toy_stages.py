"""Stages of a round without a network, for tests of the loop itself: `python toy_stages.py STAGE`.

The same files in and out as the real ones, in milliseconds. Every run of a training is written to
.ssl-loop/runs.log, so that a test can count them.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import time

import numpy as np
from PIL import Image

from pipeline import layout
from pipeline.campaign.spending import spending
from pipeline.config.params import Params, load_params
from pipeline.files import write_json, write_text
from pipeline.metrics.per_image import write_areas
from pipeline.records.manifest import Sample, read_manifest
from pipeline.records.regions import Box


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("stage")
    parser.add_argument("--domain")
    args = parser.parse_args()
    params = load_params(layout.PARAMS)
    with (layout.PRIVATE / "runs.log").open("a") as log:
        log.write(f"start {args.stage}\n")
    time.sleep(float(os.environ.get(f"TOY_SLEEP_{args.stage.upper()}", "0")))
    if args.stage == "embed":
        write_text(layout.EMBEDDINGS / f"{args.domain}.npz", args.domain)
    elif args.stage.startswith("train_"):
        train(args.stage.removeprefix("train_"))
    else:
        {"evaluate": evaluate, "predict": predict, "acquire": acquire}[args.stage](params)
    with (layout.PRIVATE / "runs.log").open("a") as log:
        log.write(f"end {args.stage}\n")


def train(kind: str) -> None:
    labelled = {s.sample_id: s.mask_sha256 for s in read_manifest(layout.MANIFEST) if s.labelled}
    write_json(layout.MODELS / kind / "config.json", {"trained": bool(labelled), "on": labelled})
    write_text(layout.MODELS / kind / "model.safetensors", f"{kind} of {sorted(labelled.items())}")
    write_json(layout.METRICS / f"train_{kind}.json", {"labelled": len(labelled), "loss": []})


def evaluate(params: Params) -> None:
    samples = read_manifest(layout.MANIFEST)
    labelled = sum(s.labelled for s in samples)
    per_domain = {}
    for domain in params.domains:
        num_val = sum(s.split == "val" and s.domain == domain for s in samples)
        miou = labelled / (labelled + 10) if num_val and labelled else None
        miou = json.loads(os.environ.get("TOY_MIOU", "{}")).get(domain, miou)
        per_domain[domain] = {"val": {"miou": miou, "num_images": num_val, "iou": {}}}
    by_domain = {d: sum(s.labelled and s.domain == d for s in samples) for d in params.domains}
    write_json(
        layout.EVALUATION,
        {
            "domain": params.domain,
            "labelled": labelled,
            "labelled_by_domain": by_domain,
            "annotated_by_domain": {},
            "baseline": per_domain,
            "teacher": per_domain,
            "transductive": params.method.transductive,
        },
    )
    write_areas(layout.VAL_AREAS, {})


def predict(params: Params) -> None:
    write_text(layout.SCORES, "toy")
    for folder in (layout.PSEUDO_LABELS, layout.CONFIDENCE, layout.UNCERTAINTY):
        (folder / str(params.domain)).mkdir(parents=True)
    samples = read_manifest(layout.MANIFEST)
    first = sum(s.labelled for s in samples) % params.num_classes  # other bands each round
    for sample in samples:
        if sample.domain == params.domain and sample.split == "pool":
            with Image.open(sample.image) as image:
                guess_HW = bands(image.height, image.width, params.num_classes, first)
            for folder in (layout.PSEUDO_LABELS, layout.CONFIDENCE, layout.UNCERTAINTY):
                Image.fromarray(guess_HW).save(layout.sample_png(folder, sample.sample_id))


def bands(height: int, width: int, num_classes: int, first: int = 0) -> np.ndarray:
    """What the toy model sees everywhere: the classes as level bands, `first` on top."""
    rows = np.arange(height) * num_classes // height
    return np.repeat(((rows + first) % num_classes).astype(np.uint8)[:, None], width, axis=1)


def acquire(params: Params) -> None:
    domain = str(params.domain)
    samples = [s for s in read_manifest(layout.MANIFEST) if s.domain == domain]
    left = spending(samples, params, domain).left
    candidates = [
        (s.sample_id, box)
        for s in sorted(samples, key=lambda s: s.sample_id)
        if s.candidate
        for box in boxes(params, s)
    ]
    size = params.query_size(domain)
    chosen = candidates[: size if left is None else min(left, size)]
    with layout.QUERY.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        head = ["rank", "sample_id", "score", "source", "reason", "regions", "chance", "minutes"]
        writer.writerow(head)
        for rank, (sample_id, box) in enumerate(chosen, start=1):
            source = "audit" if rank == len(chosen) else "strategy"
            chance = f"{1 / len(candidates):.9f}" if source == "audit" else ""
            score = f"{1 / rank:.6f}"
            writer.writerow([rank, sample_id, score, source, "toy", box, chance, "12.00"])


def boxes(params: Params, sample: Sample) -> list[Box | str]:
    """What may be asked of an image: all of it, or each of its regions that nobody was."""
    if params.grid is None:
        return [] if sample.mask else [""]
    with Image.open(sample.image) as image:
        size = (image.height, image.width)
    found = [params.grid.box(region, size) for region in range(params.grid.count)]
    return [box for box in found if not any(box.meets(known) for known in sample.boxes)]


if __name__ == "__main__":
    main()
