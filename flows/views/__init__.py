"""What people look at: the state in words, and the report as a page."""
