"""Domains, samples, rounds, and what was asked: query items and their tasks in the tool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.ledger_errors import LedgerError
from db.repository.insert_once import Recorded, add_once, member, refuse_difference
from db.tables import Domain, LedgerSample, LsTask, QueryItem, QuerySource, Round


@dataclass(frozen=True, kw_only=True)
class NewQueryItem:
    """One row of a round's query.csv; `regions` None = the whole image."""

    sample_id: str
    rank: int
    score: float
    source: str
    reason: str
    regions: Any | None = None
    expected_minutes: float | None = None


def item_id_of(sample_id: str, round_index: int) -> str:
    """`<domain>/<stem>/r<round_index>`: the name of a query item in the ledger and in the tool."""
    return f"{sample_id}/r{round_index}"


def add_domain(session: Session, *, name: str) -> Recorded[Domain]:
    """The domain; a new one arrives after those already there."""
    arrival = session.scalar(select(func.count()).select_from(Domain))
    return add_once(session, Domain, {"name": name}, {}, first={"arrival": arrival})


def domains(session: Session) -> list[str]:
    """Names in order of arrival."""
    return list(session.scalars(select(Domain.name).order_by(Domain.arrival)))


def add_samples(session: Session, *, domain: str, image_sha256: Mapping[str, str]) -> int:
    """How many of `sample_id -> hash of its image` are new; an image never changes."""
    _require_domain(session, domain)
    bad = [sample_id for sample_id in image_sha256 if not sample_id.startswith(f"{domain}/")]
    if bad:
        raise LedgerError(f"sample ids {bad[:5]} are not of domain {domain!r}: '{domain}/<stem>'")
    known = {
        row.sample_id: row
        for row in session.scalars(select(LedgerSample).where(LedgerSample.domain == domain))
    }
    new = []
    for sample_id, sha256 in sorted(image_sha256.items()):
        if sample_id in known:
            refuse_difference(known[sample_id], {"sample_id": sample_id}, {"image_sha256": sha256})
        else:
            new.append(LedgerSample(sample_id=sample_id, domain=domain, image_sha256=sha256))
    session.add_all(new)
    session.flush()
    return len(new)


def sample_hashes(session: Session, domain: str) -> dict[str, str]:
    """`sample_id -> hash of its image`, for all images of a domain."""
    statement = select(LedgerSample.sample_id, LedgerSample.image_sha256).where(
        LedgerSample.domain == domain
    )
    return dict(session.execute(statement).tuples().all())


def add_round(session: Session, *, domain: str, round_index: int) -> Recorded[Round]:
    """The round; rounds of a domain count from 0 without gaps."""
    _require_domain(session, domain)
    expected = len(rounds(session, domain))
    if round_index > expected or round_index < 0:
        raise LedgerError(f"round {round_index} of {domain!r}: the next one is {expected}")
    return add_once(session, Round, {"domain": domain, "round_index": round_index}, {})


def rounds(session: Session, domain: str) -> list[int]:
    """Indices of a domain's rounds, ascending."""
    statement = select(Round.round_index).where(Round.domain == domain)
    return list(session.scalars(statement.order_by(Round.round_index)))


def upsert_query_items(
    session: Session, domain: str, round_index: int, items: Sequence[NewQueryItem]
) -> int:
    """How many of the query's rows are new; those there must be the same to the last digit."""
    known = {row.item_id: row for row in query_items(session, domain, round_index)}
    num_new = 0
    for item in items:
        key = {"item_id": item_id_of(item.sample_id, round_index)}
        content = asdict(item) | {
            "domain": domain,
            "round_index": round_index,
            "source": member(QuerySource, item.source, "query source"),
        }
        if key["item_id"] in known:
            refuse_difference(known[key["item_id"]], key, content)
        else:
            _require_sample(session, domain, item.sample_id)
            session.add(QueryItem(**key, **content))
            num_new += 1
    session.flush()
    return num_new


def query_items(session: Session, domain: str, round_index: int) -> list[QueryItem]:
    """The query of one round, rank 1 first."""
    statement = select(QueryItem).filter_by(domain=domain, round_index=round_index)
    return list(session.scalars(statement.order_by(QueryItem.rank)))


def find_query_item(session: Session, item_id: str) -> QueryItem | None:
    """The item of this name."""
    return session.get(QueryItem, item_id)


def record_ls_task(  # noqa: PLR0913 - one keyword per column
    session: Session,
    *,
    item_id: str,
    project_id: int,
    task_id: int,
    prediction_id: int | None,
    pre_annotation: Any | None,
) -> Recorded[LsTask]:
    """The task; the same prediction with other content is refused."""
    if session.get(QueryItem, item_id) is None:
        raise LedgerError(f"query item {item_id!r} is not in the ledger: record the query first")
    key = {
        "item_id": item_id,
        "project_id": project_id,
        "task_id": task_id,
        "prediction_id": prediction_id,
    }
    return add_once(session, LsTask, key, {"pre_annotation": pre_annotation})


def ls_tasks(session: Session, domain: str, round_index: int) -> dict[str, LsTask]:
    """`item_id -> its newest task`, in order of rank, without the pre-annotations."""
    statement = (
        select(LsTask)
        .join(QueryItem, QueryItem.item_id == LsTask.item_id)
        .where(QueryItem.domain == domain, QueryItem.round_index == round_index)
        .order_by(QueryItem.rank, LsTask.id)
    )
    return {task.item_id: task for task in session.scalars(statement)}


def pre_annotation(session: Session, item_id: str, *, prediction_id: int | None = None) -> Any:
    """The regions as sent with an item's newest task, or with one prediction; None if none were."""
    statement = select(LsTask.pre_annotation).where(LsTask.item_id == item_id)
    if prediction_id is not None:
        statement = statement.where(LsTask.prediction_id == prediction_id)
    return session.scalars(statement.order_by(LsTask.id.desc())).first()


def _require_domain(session: Session, domain: str) -> None:
    if session.get(Domain, domain) is None:
        raise LedgerError(
            f"domain {domain!r} is not in the ledger, which has {domains(session)}: add it first"
        )


def _require_sample(session: Session, domain: str, sample_id: str) -> None:
    sample = session.get(LedgerSample, sample_id)
    if sample is None or sample.domain != domain:
        raise LedgerError(f"sample {sample_id!r} of {domain!r} is not in the ledger: add it first")
