"""Answers that the ledger has and the data do not yet: what the next merge brings."""

from __future__ import annotations

from db.repository import latest_accepted, withdrawn_samples
from db.session import session_scope
from flows.loop import Loop


def unmerged(loop: Loop) -> list[str]:
    """Samples whose answer in the ledger is not the one in the data: what the next merge changes.

    Images asked for by regions are left out: their masks are made of several answers.
    """
    masks = {sample.sample_id: sample for sample in loop.workspace.manifest()}
    with session_scope(loop.ledger, read_only=True) as session:
        accepted, withdrawn = latest_accepted(session), withdrawn_samples(session)
    changed = [
        sample_id
        for sample_id, row in accepted.items()
        if (sample := masks.get(sample_id))
        and not sample.regions
        and sample.mask_sha256 != row.mask_sha256
    ]
    return changed + [name for name in withdrawn if name in masks and masks[name].mask]
