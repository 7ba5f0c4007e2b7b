"""A watched folder: what arrives is scored, and a shift is told."""
