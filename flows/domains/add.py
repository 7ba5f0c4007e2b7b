"""Adding a domain: checked whole, copied to .ssl-loop/incoming, taken in by a later tick.

What was left out of it comes in again when a person says so.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from flows.domains.incoming import OPTIONS, incoming_folder
from flows.workspace.git.lost_tags import known_domains
from flows.workspace.workspace import Workspace
from pipeline import layout
from pipeline.config.params import check_domain_name
from pipeline.data.ingest import IngestSummary, validate_and_stage
from pipeline.data.known_images import KnownImages
from pipeline.data.painted_classes import require_painted
from pipeline.errors import ConfigError, DataError
from pipeline.files import write_json
from pipeline.records.manifest import read_manifest, write_manifest
from pipeline.shift.verdict import LABELLED

# Titles in Label Studio have 50 characters, with what `annotation.title` and the folder add; file
# systems take 255 bytes for a name, and git adds to a tag's while it writes it.
MAX_DOMAIN_NAME = 64


def add_domain(  # noqa: PLR0913 - one keyword per option of the command
    root: Path,
    name: str,
    *,
    images: Path,
    masks: Path | None = None,
    splits: Path | None = None,
    query_size: int | None = None,
    budget: int | None = None,
    keep_all: bool = False,
    accept: bool = False,
    links_into: Path | None = None,
) -> IngestSummary:
    """Check and stage a domain; needs no lock, so it works while a round is computed.

    DataError lists every offending file, and then nothing was copied; so it does for what looks
    like a mistake, unless `accept`. Links out of the folders are one, but for those `links_into`.
    """
    workspace = Workspace(root)
    workspace.require()
    params = workspace.params()
    require_painted(root, params)
    check_new_domain(name)
    options = {"query_size": query_size, "budget": budget}
    # Before the staging folder gets its name: from then on a tick may take it in.
    chosen = {key: value for key, value in options.items() if value is not None}
    return validate_and_stage(
        name=name,
        images=images,
        masks=masks,
        splits=splits,
        classes=params.classes,
        existing_domains=known_domains(workspace, params),
        destination=root / layout.INCOMING,
        before_publish=lambda folder: write_json(folder / OPTIONS, chosen),
        keep_all=keep_all,
        accept=accept,
        max_megapixels=params.loop.max_megapixels,
        known=KnownImages(root),
        links_into=links_into,
    )


def check_new_domain(name: str) -> None:
    """ConfigError for a name that a domain of `params.yaml` may have, but no new one."""
    check_domain_name(name)
    if len(name) > MAX_DOMAIN_NAME:
        raise ConfigError(
            f"domain name {name[:MAX_DOMAIN_NAME]!r}... has {len(name)} characters, expected at "
            f"most {MAX_DOMAIN_NAME}: it is part of folders, git tags and titles in the tool"
        )
    if name == LABELLED:
        raise ConfigError(
            f"domain name {name!r}: `ssl-loop shift {LABELLED} NAME` means all labelled images by "
            "it; choose another"
        )


def let_in(root: Path, domain: str, names: Sequence[str] = ()) -> list[str]:
    """Let in images that were left out, the named ones or all of the domain; their ids.

    DataError for a name that is not left out, and where none is.
    """
    workspace = Workspace(root)
    workspace.require()
    with workspace.lock():
        waits = incoming_folder(root, domain) / "samples.csv"
        # HEAD's, since a killed merge may have left another in the working copy.
        samples = read_manifest(waits) if waits.exists() else workspace.manifest_at("HEAD")
        out = [item.sample_id for item in samples if item.domain == domain and item.left_out]
        chosen = [_full(domain, name) for name in names] or out
        if not out:
            raise DataError(f"domain {domain!r}: no image is left out")
        if unknown := sorted(set(chosen) - set(out)):
            raise DataError(
                f"{', '.join(unknown[:5])}: not left out; of this domain {len(out)} are: "
                f"{', '.join(out[:5])}"
            )
        after = [replace(s, left_out="") if s.sample_id in chosen else s for s in samples]
        if waits.exists():
            arrived = waits.stat()
            write_manifest(waits, after)
            os.utime(waits, ns=(arrived.st_atime_ns, arrived.st_mtime_ns))  # its turn is by this
        else:
            with workspace.writing_data():
                write_manifest(root / layout.MANIFEST, after)
                workspace.commit([layout.MANIFEST], f"Let in {len(chosen)} images of {domain}")
    return chosen


def _full(domain: str, name: str) -> str:
    return name if name.startswith(f"{domain}/") else f"{domain}/{name}"
