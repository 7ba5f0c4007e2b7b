"""Images and masks: the files are the manifest's, and what judges never teaches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from sqlalchemy import select

from db.session import session_scope
from db.tables import LedgerSample
from flows.verify.evidence import Evidence, Finding
from pipeline import layout
from pipeline.records.manifest import Sample


def manifest(evidence: Evidence) -> Iterator[Finding]:
    """Every image and mask is the manifest's by hash, and no file lies there that it lacks."""
    samples = evidence.manifest()
    for sample_id, count in Counter(sample.sample_id for sample in samples).items():
        if count > 1:
            yield Finding(
                where=sample_id,
                what=f"has {count} rows in data/manifest.csv",
                remedy="`git log data/manifest.csv` says since when; leave the first",
            )
    for sample in evidence.each("images and masks", samples):
        pairs = ((sample.image, sample.image_sha256), (sample.mask, sample.mask_sha256))
        for name, expected in pairs:
            if name and (found := evidence.sha256(evidence.root / name)) != expected:
                yield Finding(
                    where=name,
                    what="differs from the manifest's hash" if found else "is missing",
                    remedy="`dvc checkout --force` brings back what was recorded; an answer "
                    "of your own goes through the annotation tool",
                )
    yield from _strays(evidence, samples)
    yield from _unlike_the_ledger(evidence, samples)


def _strays(evidence: Evidence, samples: list[Sample]) -> Iterator[Finding]:
    known = {name for sample in samples for name in (sample.image, sample.mask) if name}
    for domain in evidence.domains:
        for folder in (layout.images_dir(domain), layout.masks_dir(domain)):
            for path in sorted((evidence.root / folder).rglob("*")):
                name = path.relative_to(evidence.root).as_posix()
                if path.is_file() and name not in known:
                    yield Finding(
                        where=name,
                        what="is not in the manifest, and DVC would keep it",
                        remedy="move it out of the workspace; `ssl-loop domain add` takes "
                        "images in",
                    )


def _unlike_the_ledger(evidence: Evidence, samples: list[Sample]) -> Iterator[Finding]:
    with session_scope(evidence.loop.ledger, read_only=True) as session:
        rows = {row.sample_id: row.image_sha256 for row in session.scalars(select(LedgerSample))}
    by_manifest = {sample.sample_id: sample.image_sha256 for sample in samples}
    for sample_id in sorted(rows.keys() | by_manifest.keys()):
        if rows.get(sample_id) != by_manifest.get(sample_id):
            yield Finding(
                where=sample_id,
                what=f"image {rows.get(sample_id, 'unknown')[:12]} by the ledger, "
                f"{by_manifest.get(sample_id, 'unknown')[:12]} by the manifest",
                remedy="`ssl-loop ledger rebuild` adds what the ledger lacks; otherwise one of "
                "them is another workspace's",
            )


def splits(evidence: Evidence) -> Iterator[Finding]:
    """An image of val or test is never learnt from, and never becomes one of the pool."""
    judges: dict[str, str] = {}
    for tag in [*evidence.tags, "HEAD"]:
        for sample in evidence.manifest(tag):
            if sample.split != "pool":
                judges.setdefault(sample.sample_id, tag)
            elif sample.sample_id in judges:
                yield Finding(
                    where=f"{tag}: {sample.sample_id}",
                    what=f"is in the pool, and judged models at {judges.pop(sample.sample_id)}",
                    remedy="`git log data/manifest.csv` names who moved it; put the split back and "
                    "commit",
                )
