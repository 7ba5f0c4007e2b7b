"""A domain arrives: checked whole, copied to .ssl-loop/incoming, taken in by a later tick."""

from __future__ import annotations

from pathlib import Path

from flows.steps.take_in import OPTIONS
from flows.workspace import Workspace
from pipeline import layout
from pipeline.config import check_domain_name
from pipeline.data.ingest import IngestSummary, validate_and_stage
from pipeline.files import write_json


def add_domain(  # noqa: PLR0913 - one keyword per option of the command
    root: Path,
    name: str,
    *,
    images: Path,
    masks: Path | None = None,
    splits: Path | None = None,
    query_size: int | None = None,
    budget: int | None = None,
) -> IngestSummary:
    """What was staged; needs no lock, so it works while a round is computed.

    DataError lists every offending file, and then nothing was copied.
    """
    workspace = Workspace(root)
    workspace.require()
    params = workspace.params()
    check_domain_name(name)
    options = {"query_size": query_size, "budget": budget}
    # Before the staging folder gets its name: from then on a tick may take it in.
    chosen = {key: value for key, value in options.items() if value is not None}
    return validate_and_stage(
        name=name,
        images=images,
        masks=masks,
        splits=splits,
        classes=params.classes,
        existing_domains=tuple(params.domains),
        destination=root / layout.INCOMING,
        before_publish=lambda folder: write_json(folder / OPTIONS, chosen),
    )
