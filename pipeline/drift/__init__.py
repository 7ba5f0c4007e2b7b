"""Drift detection on a stream of embeddings: a sequential test of conformal p-values."""
