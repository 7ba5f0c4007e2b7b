"""Faults in what people answered, and in the ledger of facts."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

FLOWS = "tests/flows"
VERSIONS = f"{FLOWS}/answers/test_versions.py"
IDENTITY = f"{FLOWS}/answers/test_identity.py"
TOOLS = "flows/annotators/tools"
TOOL_TESTS = f"{FLOWS}/annotators"
REPOSITORY = "tests/contracts/repository"
SESSION = "tests/db/test_session.py"

ASSIST = f"{FLOWS}/annotators/assist"

ANSWER_FAULTS = (
    Mutant(
        "a box of a smart tool that stays in an answer is painted",
        "flows/annotators/entries.py",
        "        if _is_label_of(entry, prompts):\n",
        "        if not _is_label_of:\n",
        f"{ASSIST}/test_prompt_entries.py::test_prompts_change_no_pixel",
    ),
    Mutant(
        "a click takes away from another task's mask",
        "flows/annotators/assist/clicked_masks.py",
        "(before.task_id, before.prompts.class_name) != (task_id, prompts.class_name)",
        "before.prompts.class_name != prompts.class_name",
        f"{ASSIST}/test_clicked_masks.py::test_a_click_that_takes_away_from_nothing_is_refused",
    ),
    Mutant(
        "clicks on tasks of another workspace are answered",
        "flows/annotators/assist/task_images.py",
        '            or data.get("workspace") != self._workspace_id\n',
        "",
        f"{ASSIST}/test_clicked_masks.py::test_tasks_of_others_are_refused",
    ),
    Mutant(
        "clicks are recorded again with every tick",
        "flows/answers/collected_clicks.py",
        'and one.at > until.get(one.item_id, ""):\n',
        ":\n",
        f"{FLOWS}/answers/test_collected_clicks.py::test_clicks_come_with_the_answer_and_once",
    ),
    Mutant(
        "tasks of another workspace are taken for ours",
        "flows/answers/holdings.py",
        "return task.workspace_id == workspace_id and image",
        "return image",
        f"{IDENTITY}::test_tasks_of_another_workspace_in_our_project_are_left_alone",
    ),
    Mutant(
        "a task that shows another image is taken for ours",
        "flows/answers/holdings.py",
        "workspace_id == workspace_id and image == images.get(task.item_id)",
        "workspace_id == workspace_id",
        f"{IDENTITY}::test_a_task_that_shows_another_image_is_left_alone",
    ),
    Mutant(
        "a tool that was set back is believed",
        "flows/steps/collect.py",
        "    if len(gone) > 1 and gone[0]",
        "    if len(gone) > 10**9 and gone[0]",
        f"{VERSIONS}::test_a_tool_set_back_to_an_older_backup_is_not_believed",
    ),
    Mutant(
        "a deleted answer still counts",
        "flows/steps/collect.py",
        "    for row in _vanished(held, known):\n        withdraw",
        "    for row in _vanished(held, known)[:0]:\n        withdraw",
        f"{VERSIONS}::test_a_deleted_answer_is_withdrawn_and_asked_for_again",
    ),
    Mutant(
        "an answer that came back stays withdrawn",
        "flows/steps/collect.py",
        "        if not known.is_withdrawn(pulled.annotation_id):\n            return\n",
        "        return\n",
        f"{VERSIONS}::test_an_answer_that_comes_back_counts_again",
    ),
    Mutant(
        "what a killed collect wrote is forgotten",
        "flows/steps/collect.py",
        "    absorb_inbox(loop)\n",
        "",
        f"{VERSIONS}::test_a_collect_killed_between_file_and_ledger_is_made_good",
    ),
    Mutant(
        "answers to older domains are not read",
        "flows/steps/collect.py",
        "        if domain != but:\n",
        "        if domain == but:\n",
        f"{VERSIONS}::test_answers_to_an_older_domain_are_collected_and_merged_with_the_next_merge",
    ),
    Mutant(
        "an answer without any label is accepted",
        "flows/answers/judge.py",
        "    if not (mask_HW != IGNORE).any():\n",
        "    if mask_HW is None:\n",
        f"{FLOWS}/steps/test_regions.py",
    ),
    Mutant(
        "what is painted outside the regions is learnt",
        "flows/answers/judge.py",
        "    mask_HW = kept_inside(whole_HW, asked.regions)\n",
        "    mask_HW = whole_HW\n",
        f"{FLOWS}/steps/test_regions.py",
    ),
    Mutant(
        "what people left alone in a correction is a label",
        "flows/answers/judge.py",
        "    if asked.corrects:\n        # Nothing",
        "    if False:\n        # Nothing",
        f"{FLOWS}/steps/test_corrections.py",
    ),
    Mutant(
        "a changed query unit changes what older answers mean",
        "flows/steps/collect.py",
        "corrects=corrected_by(loop.workspace, item) if item else False,",
        'corrects=known.inputs.params.acquire.query_unit == "correction",',
        f"{FLOWS}/steps/test_corrections.py",
    ),
    Mutant(
        "an unreadable answer is not sent back",
        "flows/answers/send_back.py",
        "    return state not in (ItemState.QUARANTINED_ONCE, ItemState.QUARANTINED_TWICE)",
        "    return True",
        f"{VERSIONS}::test_a_spoilt_answer_stays_in_the_tool_and_says_why",
    ),
    Mutant(
        "of two tasks for one image the second does not say that it is answered",
        "flows/answers/send_back.py",
        "        _close_others(loop, held.tasks.get(item_id, []))\n",
        "",
        f"{VERSIONS}::test_the_same_request_twice_makes_two_tasks_of_which_either_may_be_answered",
    ),
    Mutant(
        "withdrawn answers do not wait for a merge",
        "flows/answers/unmerged.py",
        "    return changed + [name for name in withdrawn if name in masks and masks[name].mask]",
        "    return changed",
        f"{VERSIONS}::test_an_answer_withdrawn_after_its_merge_leaves_the_training_set",
    ),
    Mutant(
        "a star does not count",
        "db/repository/annotations.py",
        "            row.ground_truth or name not in found or not found[name].ground_truth",
        "            True",
        f"{REPOSITORY}/test_annotations.py",
    ),
    Mutant(
        "the answer that came first counts",
        "db/repository/annotations.py",
        "            row.ground_truth or name not in found or not found[name].ground_truth",
        "            row.ground_truth or name not in found",
        f"{REPOSITORY}/test_annotations.py",
    ),
    Mutant(
        "another's skip takes an answer back",
        "db/repository/annotations.py",
        "    if Verdict.ACCEPTED in verdicts:\n",
        "    if verdicts[-1] is Verdict.ACCEPTED:\n",
        f"{REPOSITORY}/test_annotations.py",
    ),
    Mutant(
        "an unreadable edit takes a mask back",
        "db/repository/annotations.py",
        "            and before.verdict is Verdict.ACCEPTED\n        ):\n            continue\n",
        "            and before.verdict is Verdict.WITHDRAWN\n        ):\n            continue\n",
        f"{REPOSITORY}/test_annotations.py",
    ),
    Mutant(
        "a shape is turned against the clock",
        f"{TOOLS}/shapes.py",
        "    right = np.array([math.cos(angle), math.sin(angle)]) * width\n",
        "    right = np.array([math.cos(angle), -math.sin(angle)]) * width\n",
        f"{TOOL_TESTS}/tools/test_shapes.py::test_a_whole_image_and_a_single_pixel",
    ),
    Mutant(
        "an outline that crosses itself leaves holes",
        f"{TOOLS}/shapes.py",
        ".cumsum(axis=1) != 0\n",
        ".cumsum(axis=1) % 2 != 0\n",
        f"{TOOL_TESTS}/tools/test_shapes.py::"
        "test_a_crossing_outline_is_filled_as_a_canvas_fills_it",
    ),
    Mutant(
        "a bitmask without alpha is read by its grey",
        f"{TOOLS}/bitmask.py",
        '            if image.mode not in ("RGBA", "LA"):\n',
        "            if not image.mode:\n",
        f"{TOOL_TESTS}/tools/test_bitmask.py::test_what_is_no_png_of_the_image_s_size_is_refused",
    ),
    Mutant(
        "what a tool drew is read again without its label",
        "flows/annotators/entries.py",
        "        if _is_of_a_tool(entry) and _region_id(entry) in labelled:\n",
        "        if _is_of_a_tool(entry) and _region_id(entry) == labelled:\n",
        f"{TOOL_TESTS}/test_tool_entries.py::"
        "test_what_a_tool_drew_is_read_once_and_nothing_is_said",
    ),
    Mutant(
        "paint without a class passes for background",
        "flows/annotators/masks.py",
        "    says_nothing = answer.paints if background is not None else result\n",
        "    says_nothing = [] if background is not None else result\n",
        f"{TOOL_TESTS}/test_masks.py::test_paint_without_a_class_is_no_background",
    ),
    Mutant(
        "answers are read under the background of today",
        "flows/steps/collect.py",
        "            self.backgrounds[tag] = background_at(loop.workspace, tag)\n",
        "            self.backgrounds[tag] = self.params.annotation.background\n",
        f"{FLOWS}/steps/test_background.py::"
        "test_answers_keep_the_meaning_they_were_asked_with_when_the_knob_is_changed",
    ),
)

LEDGER_FAULTS = (
    Mutant(
        "the ledger takes an UPDATE",
        "db/session.py",
        r"\s*(UPDATE|DELETE|",
        r"\s*(DELETE|",
        SESSION,
    ),
    Mutant(
        "a reading scope writes",
        "db/session.py",
        "    if options.get(_READ_ONLY) and statement",
        "    if options is None and statement",
        SESSION,
    ),
    Mutant(
        "a writer begins without its turn",
        "db/session.py",
        '"BEGIN" if reading else "BEGIN IMMEDIATE"',
        '"BEGIN"',
        SESSION,
    ),
    Mutant(
        "foreign keys do not hold",
        "db/session.py",
        "PRAGMA foreign_keys = ON",
        "PRAGMA foreign_keys = OFF",
        "tests/db/test_tables.py",
    ),
    Mutant(
        "an event's hash leaves out who",
        "db/repository/chain.py",
        'CONTENT = ("key", "at", "who", ',
        'CONTENT = ("key", "at", ',
        f"{REPOSITORY}/test_chain.py",
    ),
    Mutant(
        "an event that was removed is not missed",
        "db/repository/chain.py",
        "        if row.previous_sha256 != previous:\n",
        "        if not row.previous_sha256:\n",
        f"{REPOSITORY}/test_chain.py",
    ),
    Mutant(
        "the same fact with other content is taken",
        "db/repository/insert_once.py",
        "        refuse_difference(found, key, content)\n",
        "",
        f"{REPOSITORY}/test_records.py",
    ),
    Mutant(
        "two events may have one key",
        "db/tables.py",
        "    key: Mapped[str] = mapped_column(unique=True)\n",
        "    key: Mapped[str]\n",
        "tests/db/test_migrations.py",
    ),
    Mutant(
        "an accepted answer may have no mask",
        "db/tables.py",
        "(verdict = 'accepted') = (mask_sha256 IS NOT NULL)",
        "mask_sha256 IS NULL OR mask_sha256 IS NOT NULL",
        "tests/db/test_migrations.py",
    ),
    Mutant(
        "a moment without a zone is taken",
        "db/tables.py",
        "        if value.tzinfo is None:\n            raise",
        "        if value is Base:\n            raise",
        "tests/db/test_tables.py",
    ),
)

ANSWERS_AND_LEDGER: dict[str, tuple[Mutant, ...]] = {
    "Answers": ANSWER_FAULTS,
    "The ledger": LEDGER_FAULTS,
}
