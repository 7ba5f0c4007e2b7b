"""Images that join a domain: checked whole, copied to .ssl-loop/more, taken in by a later tick."""

from __future__ import annotations

from pathlib import Path

from flows.domains.incoming import more_folder, more_images
from flows.workspace.position import ingest_numbers, ingest_tag
from flows.workspace.workspace import Workspace
from pipeline.data.ingest import IngestSummary, validate_and_stage
from pipeline.data.joined_images import Joined
from pipeline.data.known_images import KnownImages
from pipeline.data.painted_classes import require_painted
from pipeline.errors import WorkspaceError


def extend_domain(  # noqa: PLR0913 - one keyword per option of the command
    root: Path,
    name: str,
    *,
    images: Path,
    masks: Path | None = None,
    splits: Path | None = None,
    keep_all: bool = False,
    accept: bool = False,
    links_into: Path | None = None,
) -> IngestSummary:
    """Check and stage more images of a domain that was taken in; needs no lock.

    Those that the domain has, by name and pixels, are passed over. DataError lists every offending
    file, and then nothing was copied. WorkspaceError for a domain that there is not.
    """
    workspace = Workspace(root)
    workspace.require()
    params, tags = workspace.params(), workspace.tags_merged()
    require_painted(root, params)
    if ingest_tag(name) not in tags:
        known = [domain for domain in params.domains if ingest_tag(domain) in tags]
        raise WorkspaceError(
            f"domain {name!r} is not taken in; there are: {', '.join(known) or 'none'}. A new one "
            f"comes by `ssl-loop domain add {name} --images {images}`"
        )
    known_images = KnownImages(root)
    here = {s.sample_id: file for s, file in known_images.files() if s.domain == name}
    waiting = [more.number for more in more_images(root) if more.domain == name]
    return validate_and_stage(
        name=name,
        images=images,
        masks=masks,
        splits=splits,
        classes=params.classes,
        existing_domains=(),
        destination=more_folder(root, name),
        keep_all=keep_all,
        accept=accept,
        max_megapixels=params.loop.max_megapixels,
        known=known_images,
        links_into=links_into,
        joined=Joined(
            number=max((*ingest_numbers(name, tags), *waiting)) + 1,
            images={sample_id.partition("/")[2]: file for sample_id, file in here.items()},
        ),
    )
