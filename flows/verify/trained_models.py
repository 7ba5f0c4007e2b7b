"""Models: the ledger's checkpoints are the tags', and learnt from what it says."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from db.repository import checkpoints as recorded
from db.session import session_scope
from db.tables import Checkpoint
from flows.verify.evidence import Evidence, Finding
from flows.versions.find_models import KINDS, models
from flows.versions.lineage import lineage_of_models
from pipeline import layout

REBUILD = "`ssl-loop ledger rebuild` adds what the ledger lacks"
OTHER_LEDGER = (
    "the ledger is another workspace's or was changed by hand: set it aside and `ssl-loop ledger "
    "rebuild`"
)


def checkpoints(evidence: Evidence) -> Iterator[Finding]:
    """Every computed round has its checkpoints: weights, params and labels are the tag's."""
    with session_scope(evidence.loop.ledger, read_only=True) as session:
        rows = {(r.domain, r.round_index, str(r.kind)): r for r in recorded(session)}
    for domain, round_index, tag in evidence.rounds:
        labels = {s.sample_id: s.mask_sha256 for s in evidence.manifest(tag) if s.labelled}
        for kind in KINDS:
            row = rows.pop((domain, round_index, kind), None)
            if row is not None:
                yield from _differences(evidence, tag, row, labels)
            elif labels:
                yield Finding(where=f"{tag} {kind}", what="is not in the ledger", remedy=REBUILD)
    for domain, round_index, kind in rows:
        yield Finding(
            where=f"{domain}/r{round_index} {kind}",
            what="a checkpoint in the ledger without a tag",
            remedy=OTHER_LEDGER,
        )


def _differences(
    evidence: Evidence, tag: str, row: Checkpoint, labels: dict[str, str]
) -> Iterator[Finding]:
    where = f"{tag} {row.kind}"
    outs = {out.path: out.md5 for out in evidence.outs(tag)}
    if (weights := outs.get(KINDS[row.kind].as_posix(), "")) != row.weights_sha256:
        what = f"weights {row.weights_sha256[:12]} by the ledger, {weights[:12]} by dvc.lock"
        yield Finding(where=where, what=what, remedy=OTHER_LEDGER)
    params = hashlib.sha256(evidence.workspace.show(tag, layout.PARAMS)).hexdigest()
    if params != row.params_sha256:
        what = f"params {row.params_sha256[:12]} by the ledger, {params[:12]} at the tag"
        yield Finding(where=where, what=what, remedy=OTHER_LEDGER)
    if unlike := _unlike(row.trained_on, labels):
        yield Finding(
            where=where,
            what=f"learnt from other masks by the ledger than by the manifest: {unlike}",
            remedy=OTHER_LEDGER,
        )
    judges = {s.sample_id for s in evidence.manifest(tag) if s.split != "pool"}
    for sample_id in sorted(judges & row.trained_on.keys()):
        yield Finding(
            where=where,
            what=f"learnt from {sample_id}, which judges it",
            remedy="do not trust its mIoU; go on from an earlier tag (`ssl-loop restore`)",
        )


def _unlike(one: dict[str, str], other: dict[str, str]) -> str:
    names = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def lineage(evidence: Evidence) -> Iterator[Finding]:
    """What the ledger and git's history say that a model learnt from is the same."""
    for model in evidence.each("lineage", models(evidence.loop)):
        for line in lineage_of_models(evidence.loop, [model], evidence.cache).differences:
            yield Finding(
                where=f"{model.tag} {model.kind}",
                what=line,
                remedy=f"`ssl-loop lineage {model.tag}`; an edit that came after the training is "
                "no fault, anything else is: set the ledger aside and `ssl-loop ledger rebuild`",
            )
