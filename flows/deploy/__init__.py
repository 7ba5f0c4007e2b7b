"""Models and data of a workspace for use outside of the loop."""
