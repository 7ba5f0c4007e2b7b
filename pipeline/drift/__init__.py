"""Whether a stream of images still comes from a known domain: the test without files."""
