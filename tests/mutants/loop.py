"""Faults in the loop: the tick's seams, answers, ledger, versions, services."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

FLOWS = "tests/flows"
TICK = f"{FLOWS}/test_tick.py"
VERSIONS = f"{FLOWS}/answers/test_versions.py"
IDENTITY = f"{FLOWS}/answers/test_identity.py"
TWO_DOMAINS = f"{TICK}::test_two_domains_go_through_their_rounds_and_shift"
PAINTED = f"{TICK}::test_masks_in_the_data_are_what_people_painted"
REMOTE = f"{FLOWS}/workspace/test_remote.py"
GARBAGE = f"{FLOWS}/versions/test_collect_garbage.py"
CHANGED = "test_an_archive_that_was_changed_is_refused_and_leaves_nothing"
BACKUP = f"{FLOWS}/backup/test_backup.py::{CHANGED}"
REFUSALS = f"{FLOWS}/guards/test_refusals.py"
OWNERS = f"{FLOWS}/workspace/git/test_commit_owners.py"
DURING = "test_what_people_do_while_a_tick_runs_is_seen_before_the_next_round_is_computed"
MEANWHILE = f"{OWNERS}::{DURING}"
CRASHES = f"{FLOWS}/test_crashes.py::test_killed_once_the_next_tick_carries_on"
MASKS_GO = "test_masks_of_a_killed_merge_go_with_the_answers_that_were_taken_back"
TAKEN_BACK = f"{FLOWS}/test_crashes.py::{MASKS_GO}"
WORKSPACE = f"{FLOWS}/workspace/test_workspace.py"
REPOSITORY = "tests/contracts/repository"
SESSION = "tests/db/test_session.py"
HOOK = f"{FLOWS}/services/test_webhook.py"

TICK_FAULTS = (
    Mutant(
        "a tick takes no lock",
        "flows/tick.py",
        "    with loop.workspace.lock():\n",
        "    if loop.workspace.root:\n",
        f"{TICK}::test_the_lock_keeps_a_second_tick_out",
    ),
    Mutant(
        "a tick does not look for what it must refuse",
        "flows/tick.py",
        "        require_sound(loop)\n",
        "",
        f"{REFUSALS}::test_a_tag_that_was_deleted_is_named_with_its_commit",
    ),
    Mutant(
        "rounds are computed from data that people edited",
        "flows/tick.py",
        "        require_own_data(loop)\n        for stage in stages():",
        "        for stage in stages():",
        f"{MEANWHILE}[False]",
    ),
    Mutant(
        "answers are merged into data that people edited",
        "flows/tick.py",
        "    require_own_data(loop)\n    run(merge",
        "    run(merge",
        f"{OWNERS}::test_edits_that_are_not_committed_are_named_before_they_are_read_or_lost",
    ),
    Mutant(
        "what people commit while a tick runs is not looked at",
        "flows/tick.py",
        "            require_own_commits(loop)  # people may commit at any time\n",
        "",
        f"{MEANWHILE}[True]",
    ),
    Mutant(
        "what a tick sealed waits for the next to be pushed",
        "flows/tick.py",
        "            tried = _push(loop, run, tried)\n",
        "",
        f"{REMOTE}::test_what_a_tick_seals_it_also_pushes",
    ),
    Mutant(
        "a round is merged before people have answered",
        "flows/tick.py",
        "    if not progress.settled:\n",
        "    if progress is None:\n",
        TWO_DOMAINS,
    ),
    Mutant(
        "the campaign's end does not collect late answers",
        "flows/tick.py",
        '        run(collect_late, loop, name="collect-late")\n',
        "",
        TWO_DOMAINS,
    ),
    Mutant(
        "the current domain is called finished",
        "flows/steps/finish.py",
        "if here is not None and not over:",
        "if here is not None and over:",
        TWO_DOMAINS,
    ),
    Mutant(
        "a round is tagged before it is committed",
        "flows/steps/reproduce.py",
        "    workspace.commit(present(loop.root, ROUND_PATHS), "
        'f"Round {here.round_index} of {here.domain}")\n'
        '    workspace.tag(here.tag, f"round {here.round_index} of {here.domain}: '
        'models and query")\n',
        '    workspace.tag(here.tag, f"round {here.round_index} of {here.domain}: '
        'models and query")\n'
        "    workspace.commit(present(loop.root, ROUND_PATHS), "
        'f"Round {here.round_index} of {here.domain}")\n',
        TWO_DOMAINS,
    ),
    Mutant(
        "a stage's end is noted each time",
        "flows/steps/reproduce.py",
        "            key=stage_key(here.domain, here.round_index, stage),\n",
        "            key=stage_key(here.domain, here.round_index, stage) + str(id(session)),\n",
        f"{CRASHES}[between repro and commit]",
    ),
    Mutant(
        "staged copies of another domain are deleted",
        "flows/steps/take_in.py",
        "    if staged != taken:\n",
        "    if staged is taken:\n",
        f"{REFUSALS}::test_staged_copies_of_other_images_are_never_deleted",
    ),
    Mutant(
        "a domain is taken in under other class names",
        "flows/steps/take_in.py",
        "        require_same(read_classes(listed), classes)\n",
        "        pass\n",
        f"{FLOWS}/guards/test_painted_guard.py",
    ),
    Mutant(
        "tasks do not say which image they show",
        "flows/steps/publish.py",
        "        image_sha256=samples[asked.sample_id].image_sha256,\n",
        '        image_sha256="",\n',
        PAINTED,
    ),
    Mutant(
        "the tasks that were made are not recorded",
        "flows/steps/publish.py",
        "        for task in pushed:\n",
        "        for task in pushed[:0]:\n",
        PAINTED,
    ),
    Mutant(
        "masks of a killed merge stay",
        "flows/steps/merge.py",
        "    _back_to(loop, base, domains)\n",
        "",
        TAKEN_BACK,
    ),
    Mutant(
        "a mask whose answer was withdrawn stays",
        "flows/steps/merge.py",
        "(without_mask(s) if s.sample_id in withdrawn else s for s in before)",
        "before",
        f"{VERSIONS}::test_an_answer_withdrawn_after_its_merge_leaves_the_training_set",
    ),
    Mutant(
        "a damaged mask is merged",
        "flows/steps/merge.py",
        "if not source.exists() or sha256_file(source) != sample.mask_sha256:",
        "if not source.exists():",
        f"{VERSIONS}::test_a_mask_that_was_damaged_in_the_inbox_is_not_merged",
    ),
    Mutant(
        "all random picks teach, none judges",
        "flows/steps/merge.py",
        "math.ceil((n + 1) * val_share) > math.ceil(n * val_share)",
        "math.floor(n * val_share) > math.ceil(n * val_share)",
        f"{TICK}::test_random_picks_become_val_where_none_was_given",
    ),
    Mutant(
        "a tag that lacks files is called pushed",
        "flows/steps/push.py",
        "    if missing := cache.missing(outs):\n",
        "    if missing := []:\n",
        f"{REMOTE}::test_a_file_that_the_cache_lost_is_not_called_pushed",
    ),
)

ANSWER_FAULTS = (
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
        "        mask_HW = np.where(asked_HW, mask_HW, np.uint8(IGNORE))\n",
        "",
        f"{FLOWS}/steps/test_regions.py",
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
        "        refuse_difference(found, key, content)\n        return found, False",
        "        return found, False",
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

VERSION_FAULTS = (
    Mutant(
        "a tag moves to another commit",
        "flows/workspace/git/commands.py",
        "        if there is not None and there != commit:\n",
        "        if there is not None and not commit:\n",
        WORKSPACE,
    ),
    Mutant(
        "a commit takes what others have staged",
        "flows/workspace/git/commands.py",
        'self.run(*_COMMIT, *said, "--only", "--", *names)',
        'self.run(*_COMMIT, *said, "--all")',
        WORKSPACE,
    ),
    Mutant(
        "a tick works on another branch",
        "flows/workspace/git/commands.py",
        "        if current != branch:\n",
        "        if current and current != branch:\n",
        f"{WORKSPACE}, {TICK}::test_a_detached_head_is_refused_with_the_remedy",
    ),
    Mutant(
        "another's lock of git is removed",
        "flows/workspace/git/commands.py",
        "if path.stat().st_mtime_ns >= since]",
        "if path.exists()]",
        WORKSPACE,
    ),
    Mutant(
        "an amended commit of the loop is still its own",
        "flows/workspace/git/commit_owners.py",
        "return marked and abs(self.committed - self.written) <= 1 and",
        "return marked and",
        f"{OWNERS}::test_an_amended_or_picked_commit_of_the_loop_is_no_longer_its_own",
    ),
    Mutant(
        "two workspaces are locked by one process each, and both go on",
        "flows/workspace/workspace.py",
        "            if not ours:",
        "            if False:",
        f"{WORKSPACE}, {TICK}::test_the_lock_keeps_a_second_tick_out",
    ),
    Mutant(
        "locks of living DVCs are released",
        "flows/workspace/dvc/dvc_locks.py",
        '        return bool(psutil.Process(holder["pid"]).status() != psutil.STATUS_ZOMBIE)',
        "        return False",
        f"{FLOWS}/workspace/dvc/test_dvc_locks.py",
    ),
    Mutant(
        "gc removes what only a stash or the working copy needs",
        "flows/versions/collect_garbage.py",
        '    yield "the working copy", outs_in_working_copy(workspace.root)\n',
        "",
        f"{GARBAGE}::test_a_branch_a_stash_and_the_working_copy_count",
    ),
    Mutant(
        "gc with --dry-run removes",
        "flows/versions/collect_garbage.py",
        "for path in () if dry_run else gone:",
        "for path in gone:",
        f"{GARBAGE}::test_what_no_tag_needs_goes_and_all_tags_come_back",
    ),
    Mutant(
        "a restore does not compare what DVC brought",
        "flows/versions/restored_hashes.py",
        "            if not (root / path).is_file() or _md5(root / path) != md5:\n",
        "            if not (root / path).is_file():\n",
        f"{FLOWS}/versions/test_restore.py::test_a_spoilt_cache_is_found_out_though_dvc_calls_it_up_to_date",
    ),
    Mutant(
        "a backup's hashes are not compared",
        "flows/backup/archive.py",
        "    if bad:\n",
        "    if bad is None:\n",
        f"{BACKUP}[a bit flipped]",
    ),
    Mutant(
        "a backup brings folders of its own",
        "flows/backup/archive.py",
        '".." in path.parts or path.parts[0] not in PLACES',
        '".." in path.parts',
        f"{BACKUP}[a place of its own]",
    ),
)

SERVICE_FAULTS = (
    Mutant(
        "any secret opens the hook",
        "flows/services/webhook.py",
        "        if not hmac.compare_digest(given, self._secret):\n",
        "        if not given:\n",
        HOOK,
    ),
    Mutant(
        "the hook reads a body of any length",
        "flows/services/webhook.py",
        "            if len(body) > BODY_LIMIT_BYTES:\n",
        "            if len(body) < 0:\n",
        HOOK,
    ),
    Mutant(
        "the hook waits for ever",
        "flows/services/webhook.py",
        "            async with asyncio.timeout(REQUEST_S):\n",
        "            async with asyncio.timeout(None):\n",
        HOOK,
    ),
    Mutant(
        "idle connections keep others out",
        "flows/services/webhook.py",
        "            next(iter(self._connections)).transport.abort()\n",
        "            writer.transport.abort()\n",
        HOOK,
    ),
    Mutant(
        "others may read the secrets",
        "flows/workspace/credentials.py",
        "os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)",
        "os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)",
        f"{FLOWS}/workspace/test_credentials.py, {HOOK}",
    ),
)

LOOP: dict[str, tuple[Mutant, ...]] = {
    "The tick": TICK_FAULTS,
    "Answers": ANSWER_FAULTS,
    "The ledger": LEDGER_FAULTS,
    "Versions and backups": VERSION_FAULTS,
    "Services": SERVICE_FAULTS,
}
