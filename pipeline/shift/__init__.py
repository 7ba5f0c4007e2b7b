"""How unlike two domains are, and what a model is worth on the second, without labels of it."""
