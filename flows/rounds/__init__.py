"""Rounds: how far people are, what they brought, whether another one is worth it."""
