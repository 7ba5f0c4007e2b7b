"""Planted label errors: how early a review lists them."""
