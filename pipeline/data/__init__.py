"""Samples and their files: manifest, formats, ingest, datasets, transforms, synthetic domains."""
