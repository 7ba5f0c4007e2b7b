"""How a training follows a shift from domains with labels to the current one; a file per idea."""
