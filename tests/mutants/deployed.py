"""Faults planted in what takes models and data out of the loop: predict, serve, exports."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

FOLDER_RUN_TESTS = "tests/pipeline/deploy/test_folder_run.py"
SERVER_FILE = "flows/deploy/mask_server.py"
SERVER_TESTS = "tests/flows/deploy/test_mask_server.py"
EXPORT_TESTS = "tests/contracts/test_exports.py"

DEPLOYED: dict[str, tuple[Mutant, ...]] = {
    "Models and data outside of the loop": (
        Mutant(
            "an image that changed is taken for done",
            "pipeline/deploy/folder_run.py",
            "row and row.image_sha256 == sha256 and self._outputs.there(row.mask)",
            "row and self._outputs.there(row.mask)",
            f"{FOLDER_RUN_TESTS}::test_a_changed_image_is_predicted_anew",
        ),
        Mutant(
            "names that differ in case alone are two files",
            "pipeline/deploy/mask_names.py",
            "            if name.casefold() not in self._taken:\n",
            "            if name not in self._taken:\n",
            f"{FOLDER_RUN_TESTS}::test_names_are_unique_over_folders_and_stay",
        ),
        Mutant(
            "the members of the model are not asked",
            "pipeline/deploy/deployed_model.py",
            "members=(as_it_is, *more)",
            "members=(as_it_is,)",
            f"{FOLDER_RUN_TESTS}::test_as_the_loop_asks_its_model",
        ),
        Mutant(
            "a file is taken while it is being written",
            "pipeline/deploy/watching.py",
            "time.time() - seen.st_ctime >= SETTLED_S",
            "time.time() - seen.st_ctime >= 0",
            "tests/pipeline/deploy/test_watching.py::test_files_that_arrive_are_predicted",
        ),
        Mutant(
            "the model of a tag is the one of the work tree",
            "flows/deploy/tagged_files.py",
            'f"refs/tags/{tag}")}',
            '"HEAD")}',
            "tests/flows/deploy/test_named_model.py::test_the_teacher_of_a_tag",
        ),
        Mutant(
            "one client more than there are places",
            SERVER_FILE,
            "if self._clients >= self._limits.max_clients:",
            "if self._clients > self._limits.max_clients:",
            f"{SERVER_TESTS}::test_too_many_at_once_are_told_to_come_back",
        ),
        Mutant(
            "a wrong token is right under the right scheme",
            SERVER_FILE,
            'if scheme.lower() != "bearer" or not right:',
            'if scheme.lower() != "bearer" and not right:',
            f"{SERVER_TESTS}::test_with_a_token_it_is_asked_for",
        ),
        Mutant(
            "run lengths go row by row",
            "pipeline/data/exports/rle.py",
            'ravel(order="F")',
            'ravel(order="C")',
            EXPORT_TESTS,
        ),
        Mutant(
            "a part in a hole of another part of its class is left out",
            "pipeline/data/exports/yolo_seg.py",
            "own_HW, cv2.RETR_CCOMP,",
            "own_HW, cv2.RETR_EXTERNAL,",
            f"{EXPORT_TESTS}::test_parts_in_holes_of_parts_lose_nothing",
        ),
    ),
}
