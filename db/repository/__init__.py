"""What may be said to the ledger and asked of it, by noun.

Every function takes the session first and never commits. Saying the same fact twice leaves one
row; saying it with other content raises LedgerConflictError.
"""

from __future__ import annotations

from db.repository.annotations import (
    RoundAnswers,
    accepted_items,
    annotation_versions,
    answers,
    find_annotation,
    item_states,
    latest_accepted,
    lead_time,
    next_sequence,
    record_annotation,
    standing,
    state_of,
    withdrawn_samples,
)
from db.repository.blind_answers import BlindAnswer, accepted_blind
from db.repository.chain import first_break
from db.repository.chain import head as chain_head
from db.repository.events import events, find_event, record_event
from db.repository.ledger_export import facts
from db.repository.projects import ls_projects, record_ls_project
from db.repository.queries import (
    NewQueryItem,
    add_domain,
    add_round,
    add_samples,
    domains,
    find_query_item,
    item_id_of,
    ls_tasks,
    pre_annotation,
    query_items,
    record_ls_task,
    rounds,
    sample_hashes,
    upsert_query_items,
)
from db.repository.training import (
    checkpoints,
    record_checkpoint,
    record_measurement,
)

__all__ = [
    "BlindAnswer",
    "NewQueryItem",
    "RoundAnswers",
    "accepted_blind",
    "accepted_items",
    "add_domain",
    "add_round",
    "add_samples",
    "annotation_versions",
    "answers",
    "chain_head",
    "checkpoints",
    "domains",
    "events",
    "facts",
    "find_annotation",
    "find_event",
    "find_query_item",
    "first_break",
    "item_id_of",
    "item_states",
    "latest_accepted",
    "lead_time",
    "ls_projects",
    "ls_tasks",
    "next_sequence",
    "pre_annotation",
    "query_items",
    "record_annotation",
    "record_checkpoint",
    "record_event",
    "record_ls_project",
    "record_ls_task",
    "record_measurement",
    "rounds",
    "sample_hashes",
    "standing",
    "state_of",
    "upsert_query_items",
    "withdrawn_samples",
]
