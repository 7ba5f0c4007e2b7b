"""A workspace as git and DVC keep it: its files, its tags, where it stands."""
