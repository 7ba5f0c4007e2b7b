"""The stages of one round, each `run(root, params)`: files of a workspace in, files out."""

from __future__ import annotations

# Module paths, not functions: `python -m pipeline acquire` must not import what only training uses.
STAGES = {
    "embed": "pipeline.stages.embed",
    "train_baseline": "pipeline.stages.train_baseline",
    "train_teacher": "pipeline.stages.train_teacher",
    "evaluate": "pipeline.stages.evaluate",
    "predict": "pipeline.stages.predict",
    "acquire": "pipeline.stages.acquire",
}
