"""What the teacher knows of an image, by small patches, and how marks spread over them."""
