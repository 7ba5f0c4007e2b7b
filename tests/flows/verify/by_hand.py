"""What a hand breaks past the loop: a fault or more for every invariant."""

from __future__ import annotations

from collections.abc import Callable

from tests.flows.verify import answers_by_hand as answers
from tests.flows.verify import files_by_hand as files
from tests.flows.verify import ledger_by_hand as ledger
from tests.flows.verify.campaign_copy import Place

BREAKS: dict[str, tuple[Callable[[Place], None], ...]] = {
    "events": (ledger.event_changed, ledger.event_lost, ledger.event_put_in),
    "asked": (ledger.task_lost, ledger.item_lost, ledger.item_that_nobody_asked),
    "versions": (ledger.superseded_by_hand, ledger.superseded_by_an_older_one),
    "records": (
        answers.record_lost,
        answers.record_of_another,
        answers.record_damaged,
        answers.record_of_another_shape,
        answers.record_no_text,
        answers.record_a_pipe,
        answers.result_changed,
        ledger.row_lost,
    ),
    "inbox": (answers.stray_in_inbox, answers.waiting_mask_lost),
    "masks": (files.pixel_changed, files.pixel_changed_with_every_hash),
    "merged": (files.masks_swapped, files.mask_lost, files.mask_of_nobody),
    "manifest": (
        files.stray_mask,
        files.image_changed,
        files.image_lost,
        ledger.image_of_another_ledger,
        files.sample_twice,
        files.pixel_changed,
    ),
    "splits": (files.judge_teaches,),
    "tags": (files.query_edited_at_a_tag, files.params_edited_at_a_tag),
    "working_copy": (files.metrics_edited, files.model_with_more, files.weights_changed),
    "restorable": (files.object_collected, files.object_spoilt),
    "checkpoints": (
        ledger.other_weights_in_the_ledger,
        ledger.other_params_in_the_ledger,
        ledger.checkpoint_lost,
        ledger.learnt_from_another_mask,
        ledger.learnt_from_its_judge,
    ),
    "lineage": (ledger.learnt_from_another_mask,),
    "rebuilt": (
        ledger.reason_edited,
        ledger.event_lost,
        ledger.measurement_made_up,
        ledger.row_lost,
    ),
    "commits": (files.mask_committed_by_hand,),
    "tasks": (
        answers.task_deleted,
        answers.task_twice,
        answers.task_of_another_workspace,
        answers.project_deleted,
    ),
    "answers": (
        answers.answer_not_collected,
        answers.answer_deleted,
        ledger.answer_of_the_ledger_lost,
    ),
}
