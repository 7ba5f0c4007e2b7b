"""`ssl-loop backup` and `restore-backup`: a whole workspace in one file, and back again."""
