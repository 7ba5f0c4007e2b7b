"""Versions of data and models: restored, compared, traced, pushed, freed."""
