"""What people answered: found in the tool, judged, kept, sent back, or taken from a commit."""
