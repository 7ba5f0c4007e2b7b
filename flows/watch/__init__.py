"""Drift detection on a watched folder: images are scored as they arrive, a shift is reported."""
