"""`python -m pipeline STAGE`: run one stage in the current folder, as `dvc repro` does."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

from pipeline.runtime.torch_settings import settle_torch
from pipeline.stages import STAGES


def main() -> int:
    """Exit code 0, or 1 with the error's message on stderr."""
    parser = argparse.ArgumentParser(prog="python -m pipeline", description=__doc__)
    parser.add_argument("stage", choices=STAGES, help="the stage of dvc.yaml to run")
    parser.add_argument("--root", type=Path, default=Path(), help="the workspace (default: here)")
    parser.add_argument("--domain", help="embed only: the domain whose images to embed")
    args = parser.parse_args()
    return _run(args.stage, args.root, {"domain": args.domain} if args.domain else {})


def _run(stage: str, root: Path, options: dict[str, Any]) -> int:
    settle_torch()  # before numpy, too, which counts the processors as it is loaded
    from pipeline import layout
    from pipeline.config.params import load_params
    from pipeline.data.painted_classes import require_painted
    from pipeline.errors import SslLoopError
    from pipeline.files import failure_words
    from pipeline.runtime.devices import require_device

    try:
        params = load_params(root / layout.PARAMS)
        require_painted(root, params)
        require_device(params.train)
        importlib.import_module(STAGES[stage]).run(root, params, **options)
    except (SslLoopError, OSError) as error:
        said = failure_words(error) if isinstance(error, OSError) else str(error)
        print(f"{stage}: {said}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
