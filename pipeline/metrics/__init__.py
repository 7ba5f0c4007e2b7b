"""Confusion matrices, and what is read from them: of a set, per image, of a random sample."""
