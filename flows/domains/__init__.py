"""Domains: adding them, waiting to be taken in, and shift reports on arrival."""
