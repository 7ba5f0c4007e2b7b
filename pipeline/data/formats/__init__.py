"""How image data on disk is read: one file per layout of folders, one row in FORMATS."""
