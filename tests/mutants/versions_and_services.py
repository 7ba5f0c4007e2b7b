"""Faults in versions, backups and services."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

FLOWS = "tests/flows"
TICK = f"{FLOWS}/test_tick.py"
GARBAGE = f"{FLOWS}/versions/test_collect_garbage.py"
CHANGED = "test_an_archive_that_was_changed_is_refused_and_leaves_nothing"
BACKUP = f"{FLOWS}/backup/test_backup.py::{CHANGED}"
OWNERS = f"{FLOWS}/workspace/git/test_commit_owners.py"
WORKSPACE = f"{FLOWS}/workspace/test_workspace.py"
HOOK = f"{FLOWS}/services/test_webhook.py"

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
        "the worker begins again while a run is under way",
        "flows/services/prefect_worker.py",
        " or process.children():",
        ":",
        f"{FLOWS}/services/test_prefect_worker.py::test_run_in_a_child_keeps_the_process",
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
        "anybody may ask for masks",
        "flows/annotators/assist/ml_backend.py",
        "        if not hmac.compare_digest(given, self._secret):\n",
        "        if not self._secret:\n",
        f"{FLOWS}/annotators/assist/test_ml_backend.py::test_nobody_is_answered_without_the_secret",
    ),
    Mutant(
        "the hook reads a body of any length",
        "flows/processes/bounded_http.py",
        "            if len(body) > self.body_limit_bytes:\n",
        "            if len(body) < 0:\n",
        HOOK,
    ),
    Mutant(
        "the hook waits for ever",
        "flows/processes/bounded_http.py",
        "            async with asyncio.timeout(self.request_s):\n",
        "            async with asyncio.timeout(None):\n",
        HOOK,
    ),
    Mutant(
        "idle connections keep others out",
        "flows/processes/bounded_http.py",
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
    Mutant(
        "a long training counts as standing still",
        "flows/demo/campaign.py",
        "                evidence = (tags, moved, done, _newest_checkpoint(self.root))\n",
        "                evidence = (tags, moved, done)\n",
        f"{FLOWS}/demo/test_campaign.py::test_slow_is_not_failed",
    ),
    Mutant(
        "a busy tool ends the simulated annotator",
        "flows/annotators/simulated.py",
        "                if on_failure is None:\n",
        "                if on_failure is not None:\n",
        f"{FLOWS}/annotators/test_simulated.py::test_a_tool_too_busy_to_answer_ends_no_watch",
    ),
)

VERSIONS_AND_SERVICES: dict[str, tuple[Mutant, ...]] = {
    "Versions and backups": VERSION_FAULTS,
    "Services": SERVICE_FAULTS,
}
