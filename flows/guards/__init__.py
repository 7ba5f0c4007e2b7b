"""What the loop refuses to go on over, what looks for it, and what mends it."""
