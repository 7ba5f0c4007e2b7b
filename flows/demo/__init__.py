"""A campaign with a simulated annotator on the real services: `make demo` and rehearsals."""
