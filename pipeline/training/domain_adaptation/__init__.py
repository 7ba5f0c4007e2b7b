"""Domain adaptation from domains with labels to the current one; one file per technique."""
