"""Click to mask: marks of an annotator on an image become the mask of a class at once."""
