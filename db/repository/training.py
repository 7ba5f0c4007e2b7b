"""What was trained, on which masks, and how well it did."""

from __future__ import annotations

import math
from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.ledger_errors import LedgerError
from db.repository.insert_once import Recorded, add_once, member
from db.tables import Checkpoint, CheckpointKind, Domain, EvaluatedSplit, Measurement, Round


def record_checkpoint(  # noqa: PLR0913 - one keyword per column
    session: Session,
    *,
    domain: str,
    round_index: int,
    kind: str,
    params_sha256: str,
    weights_sha256: str,
    trained_on: Mapping[str, str],
) -> Recorded[Checkpoint]:
    """The checkpoint; `trained_on` is `sample_id -> hash of its mask`.

    A round in which nothing could be trained has none.
    """
    if session.get(Round, (domain, round_index)) is None:
        raise LedgerError(f"round {round_index} of {domain!r} is not in the ledger: add it first")
    key = {
        "domain": domain,
        "round_index": round_index,
        "kind": member(CheckpointKind, kind, "checkpoint kind"),
    }
    content = {
        "params_sha256": params_sha256,
        "weights_sha256": weights_sha256,
        "trained_on": dict(trained_on),
    }
    return add_once(session, Checkpoint, key, content)


def record_measurement(  # noqa: PLR0913 - one keyword per column
    session: Session,
    *,
    domain: str,
    round_index: int,
    kind: str,
    evaluated_domain: str,
    split: str,
    metric: str,
    value: float,
) -> Recorded[Measurement]:
    """The measurement; what is not yet measurable is not recorded."""
    checkpoint = (domain, round_index, member(CheckpointKind, kind, "checkpoint kind"))
    if session.get(Checkpoint, checkpoint) is None:
        raise LedgerError(f"checkpoint {checkpoint} is not in the ledger: record it first")
    if session.get(Domain, evaluated_domain) is None:
        raise LedgerError(f"domain {evaluated_domain!r} is not in the ledger: add it first")
    if not math.isfinite(value):
        raise LedgerError(f"{metric} = {value}: leave out what could not be measured")
    key = {
        "domain": domain,
        "round_index": round_index,
        "kind": checkpoint[2],
        "evaluated_domain": evaluated_domain,
        "split": member(EvaluatedSplit, split, "split"),
        "metric": metric,
    }
    return add_once(session, Measurement, key, {"value": value})


def checkpoints(session: Session, domain: str | None = None) -> list[Checkpoint]:
    """All checkpoints, by order of the domains' arrival, round and kind."""
    statement = select(Checkpoint).join(Domain, Domain.name == Checkpoint.domain)
    if domain is not None:
        statement = statement.where(Checkpoint.domain == domain)
    order = (Domain.arrival, Checkpoint.round_index, Checkpoint.kind)
    return list(session.scalars(statement.order_by(*order)))
