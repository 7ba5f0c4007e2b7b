"""Several people's masks of one image: how far they agree, and what they say together."""
