"""The bridge: the only place that knows pipeline, db, git/DVC, Prefect and the annotation tool."""
