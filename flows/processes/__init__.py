"""Programs that are run, and that end with whoever started them."""
