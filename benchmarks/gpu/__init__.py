"""What a GPU gives: rates beside bare passes, and CamVid, in slices."""
