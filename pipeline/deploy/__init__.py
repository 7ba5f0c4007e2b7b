"""A trained model outside of the loop: new images in folders and videos, exports."""
