"""Domains: added, waiting, and how unlike the known ones they are."""
