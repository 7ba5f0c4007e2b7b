"""Files that stages and steps hand over, each with its one reader and writer."""
