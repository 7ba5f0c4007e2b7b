"""Procedural streets: a scene in metres, drawn far to near, lit, and seen by a camera."""
