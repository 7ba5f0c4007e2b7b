"""What was measured, each by a program of its own: `python -m benchmarks.SUBJECT[.NAME]`."""

from pipeline.runtime.torch_settings import settle_torch

settle_torch()
