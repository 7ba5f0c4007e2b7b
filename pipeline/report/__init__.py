"""A round as one HTML page: facts in, a file out."""
