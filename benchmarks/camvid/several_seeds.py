"""The rounds of `make e2e-camvid` without services, for several seeds: is the teacher worth it?

`python -m benchmarks.camvid.several_seeds --data DIR`: one process, one seed after the other; a
finished seed is kept, so it can be interrupted. Writes camvid_seeds.{json,md,svg} beside the other
results.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.camvid.campaign_report import test_scores, write_seeds
from benchmarks.camvid.day_and_dusk import DOMAINS, QUERY_SIZES, ROUNDS, CamVid, locate, stage
from benchmarks.support import RESULTS, device, read_json
from pipeline.backtest import replay
from pipeline.config.params import Params, parse_params
from pipeline.files import write_json


def main() -> None:
    """Run what is missing, then write the table and the plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="holds camvid/ and encoders/")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300, help="per training")
    args = parser.parse_args()
    camvid = locate(args.data)
    found = {}
    for seed in range(args.seeds):
        kept = RESULTS / f"camvid_seeds/{args.steps}-steps-seed-{seed}.json"
        if not kept.exists():
            write_json(kept, run_seed(camvid, seed, args.steps))
        found[seed] = read_json(kept)
    write_seeds(found, steps=args.steps)


def run_seed(camvid: CamVid, seed: int, steps: int) -> dict[str, object]:
    """Evaluations of all rounds on val, and of the last models on test."""
    with tempfile.TemporaryDirectory() as folder:
        staged = [stage(camvid, domain, Path(folder)) for domain in DOMAINS]
        root = Path(folder) / "replay"
        params = params_of(camvid, seed, steps)
        rounds = replay(root, params, staged=staged, truth=camvid.masks, num_rounds=ROUNDS)
        last = params.model_copy(update={"domain": DOMAINS[-1]})
        found = {"seed": seed, "steps": steps, "device": device(), "rounds": rounds}
        return found | {"test": test_scores(root, last)}


def params_of(camvid: CamVid, seed: int, steps: int) -> Params:
    """The same knobs as on the services."""
    domains = {
        name: {"query_size": size, "budget": size * ROUNDS} for name, size in QUERY_SIZES.items()
    }
    settings = camvid.settings(seed=seed, steps=steps)
    return parse_params({"classes": list(camvid.classes), "domains": domains, **settings})


if __name__ == "__main__":
    main()
