"""What a competent engineer writes on the first day: DeepLabV3+, crops, flips, AdamW, labels alone."""

import argparse
import csv
import json
import random
import time
from pathlib import Path

import numpy as np
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file


def read(folder, stem):
    (path,) = (folder / "images").glob(f"{stem}.*")
    image = np.array(Image.open(path).convert("RGB"), dtype=np.float32) / 127.5 - 1
    mask = np.array(Image.open(folder / "masks" / f"{stem}.png"), dtype=np.int64)
    return torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(mask)


def cut(image, mask, side):
    size = [round(pixels * random.uniform(0.75, 1.5)) for pixels in mask.shape]
    image = F.interpolate(image[None], size, mode="bilinear")[0]
    mask = F.interpolate(mask[None, None].float(), size)[0, 0].long()
    pad = (0, max(0, side - size[1]), 0, max(0, side - size[0]))
    image, mask = F.pad(image, pad), F.pad(mask, pad, value=255)
    top, left = (random.randint(0, length - side) for length in mask.shape)
    both = [part[..., top : top + side, left : left + side] for part in (image, mask)]
    return [part.flip(-1) for part in both] if random.random() < 0.5 else both


def miou(model, data, num_classes):
    counts = torch.zeros(num_classes**2, dtype=torch.long)
    for image, mask in data:
        height, width = mask.shape
        padded = F.pad(image[None], (0, -width % 32, 0, -height % 32), mode="replicate")
        with torch.inference_mode():
            found = model(padded)[0, :, :height, :width].argmax(0)
        pairs = (mask * num_classes + found)[mask != 255]
        counts += torch.bincount(pairs, minlength=num_classes**2)
    counts = counts.view(num_classes, num_classes)
    union = counts.sum(0) + counts.sum(1) - counts.diag()
    return (counts.diag() / union)[counts.sum(1) > 0].mean().item()


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("folder", type=Path, help="images/, masks/, splits.csv (id,split)")
parser.add_argument("--encoder", type=Path, required=True, help="MobileNetV2, .safetensors")
parser.add_argument("--classes", type=int, required=True)
parser.add_argument("--cpu-minutes", type=float, required=True)
parser.add_argument("--judge", default="test")
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
random.seed(args.seed)
torch.manual_seed(args.seed)
rows = sorted(csv.reader((args.folder / "splits.csv").open()))
train = [read(args.folder, stem) for stem, split in rows if split == "labelled"]
model = smp.DeepLabV3Plus("tu-mobilenetv2_100", encoder_weights=None, classes=args.classes)
model.encoder.model.load_state_dict(load_file(args.encoder), strict=False)
rest = [p for name, p in model.named_parameters() if not name.startswith("encoder")]
parts = {1e-4: list(model.encoder.parameters()), 1e-3: rest}
optimizer = torch.optim.AdamW([{"params": part, "lr": rate} for rate, part in parts.items()])
begun, spent, steps = time.process_time(), 0.0, 0
while spent < 1:
    batch = [cut(*random.choice(train), 256) for _ in range(8)]
    images, masks = (torch.stack(part) for part in zip(*batch))
    for group, rate in zip(optimizer.param_groups, parts):
        group["lr"] = rate * (1 - spent) ** 0.9
    loss = F.cross_entropy(model.train()(images), masks, ignore_index=255)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    spent, steps = (time.process_time() - begun) / 60 / args.cpu_minutes, steps + 1
judged = (read(args.folder, stem) for stem, split in rows if split == args.judge)
print(json.dumps({"steps": steps, "miou": miou(model.eval(), judged, args.classes)}))
