"""Masks in which people may have erred: what a model is sure of that did not learn from them."""
