"""Faults in the tick and in its steps."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

FLOWS = "tests/flows"
TICK = f"{FLOWS}/test_tick.py"
EXTEND = f"{FLOWS}/domains/test_extend.py"
OPEN = "tests/flows/rounds/test_open_questions.py"
BUDGET = f"{FLOWS}/test_budget.py"
SITUATION = f"{FLOWS}/test_situation.py"
VERSIONS = f"{FLOWS}/answers/test_versions.py"
TWO_DOMAINS = f"{TICK}::test_two_domains_go_through_their_rounds_and_shift"
PAINTED = f"{TICK}::test_masks_in_the_data_are_what_people_painted"
REMOTE = f"{FLOWS}/workspace/test_remote.py"
REFUSALS = f"{FLOWS}/guards/test_refusals.py"
OWNERS = f"{FLOWS}/workspace/git/test_commit_owners.py"
DURING = "test_what_people_do_while_a_tick_runs_is_seen_before_the_next_round_is_computed"
MEANWHILE = f"{OWNERS}::{DURING}"
CRASHES = f"{FLOWS}/test_crashes.py::test_killed_once_the_next_tick_carries_on"
MASKS_GO = "test_masks_of_a_killed_merge_go_with_the_answers_that_were_taken_back"
TAKEN_BACK = f"{FLOWS}/test_crashes.py::{MASKS_GO}"

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
        "    require_own_data(loop)\n    choose_plan(loop)",
        "    choose_plan(loop)",
        f"{MEANWHILE}[False]",
    ),
    Mutant(
        "answers are merged into data that people edited",
        "flows/tick.py",
        "    require_own_data(loop)\n    steps.merge(",
        "    steps.merge(",
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
        "            tried = _push(loop, steps, tried)\n",
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
        "    steps.collect_late(loop)\n",
        "",
        TWO_DOMAINS,
    ),
    Mutant(
        "the current domain is called finished",
        "flows/steps/finish.py",
        "campaign_state(now) not in ENDED:",
        "campaign_state(now) in ENDED:",
        TWO_DOMAINS,
    ),
    Mutant(
        "a larger budget opens nothing",
        "flows/situation.py",
        "or (not stopped and would_ask(loop, here))",
        "or (not stopped and here is None)",
        f"{BUDGET}::test_a_larger_budget_opens_the_campaign_again",
    ),
    Mutant(
        "a round whose query is empty is computed for ever",
        "flows/rounds/reopening.py",
        "    return now.may_ask and not _then(loop.workspace, params, here).may_ask\n",
        "    return now.may_ask\n",
        f"{BUDGET}::test_a_query_that_is_empty_for_another_reason_is_not_made_again_and_again",
    ),
    Mutant(
        "a question that is open is asked again",
        "pipeline/records/manifest.py",
        "not self.skips and not self.asked",
        "not self.skips",
        f"{OPEN}::test_half_of_the_answers_begin_the_next_round",
    ),
    Mutant(
        "a round goes on without its random picks",
        "flows/rounds/open_questions.py",
        "any(map(is_audit, left)) or not",
        "not",
        f"{OPEN}::test_random_picks_are_waited_for_since_they_judge",
    ),
    Mutant(
        "a campaign ends without the answers to what it left open",
        "flows/situation.py",
        "answers_came(loop, here) or (",
        "(",
        f"{OPEN}::test_campaign_that_ended_goes_on_with_the_last_open_answer",
    ),
    Mutant(
        "a domain's last query is not waited for",
        "flows/rounds/open_questions.py",
        " or not spent.may_ask_beyond(sum(map(num_answers, items)))",
        "",
        f"{OPEN}::test_last_query_of_a_budget_is_waited_for",
    ),
    Mutant(
        "the second end of a campaign is not named",
        "flows/steps/finish.py",
        "    return any(tags[name] == tags[last] for name in final_tags(domain, tags))\n",
        "    return bool(final_tags(domain, tags)) and bool(last)\n",
        f"{SITUATION}::test_an_end_after_the_campaign_was_opened_again_is_named_too",
    ),
    Mutant(
        "a domain that waits for one without a budget is not told so",
        "flows/tick.py",
        "{_next_one(loop, now)}",
        "",
        f"{BUDGET}::test_a_domain_that_waits_for_one_without_a_budget_is_told_how_to_get_its_turn",
    ),
    Mutant(
        "who held a workspace is said to hold it",
        "flows/workspace/holder.py",
        '            lock.write_text("", encoding="utf-8")\n',
        "            pass\n",
        f"{FLOWS}/workspace/test_holder.py::test_the_holder_is_known_as_long_as_it_holds",
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
        "flows/ledger/round_events.py",
        "        key=event_key(kind, domain, round_index, subject),\n",
        "        key=event_key(kind, domain, round_index, subject)"
        ' + str(id(session)) * (kind == "stage_completed"),\n',
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
        "images that join a domain are added twice after a kill",
        "flows/steps/take_more.py",
        "if s.sample_id not in ids]",
        "if s.sample_id]",
        f"{EXTEND}::test_killed_before_its_commit_it_is_not_added_twice",
    ),
    Mutant(
        "a domain is extended without the images that are not here",
        "flows/steps/take_more.py",
        "    if absent := [name for name in names if not (root / name).exists()]:\n",
        "    if absent := [name for name in names if not root.exists()]:\n",
        f"{EXTEND}::test_files_that_are_not_here_are_named",
    ),
    Mutant(
        "another image of a known name joins",
        "pipeline/data/joined_images.py",
        "        if np.array_equal(here, there):\n",
        "        if here is not None:\n",
        f"{EXTEND}::test_contradictions_are_refused_and_leave_nothing",
    ),
    Mutant(
        "a domain is taken in under other class names",
        "flows/steps/take_in.py",
        "        require_same(read_classes(listed), loop.read_params().classes)\n",
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

TICK_MUTANTS: dict[str, tuple[Mutant, ...]] = {
    "The tick": TICK_FAULTS,
}
