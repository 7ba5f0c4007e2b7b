"""Shift report: distance between two domains, and the model's mIoU on the second without labels."""
