"""Faults in what encoders begin from."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

STORE = "tests/pipeline/models/test_weights.py"
HUB = "tests/pipeline/models/test_hub_weights.py"
FOLDER = "tests/pipeline/runtime/test_weights_folder.py"

ENCODER_WEIGHTS: dict[str, tuple[Mutant, ...]] = {
    "Encoder weights": (
        Mutant(
            "weights that were altered are begun from",
            "pipeline/runtime/weights_folder.py",
            "(found := sha256_file(path)) != sha256",
            '(found := sha256_file(path)) == ""',
            f"{STORE}::test_chosen_weights_that_are_gone_or_altered_are_no_others",
        ),
        Mutant(
            "weights that do not fit are kept",
            "pipeline/models/weights.py",
            "    _require_fit(file, encoder, origin.encoder_options)\n",
            "",
            f"{STORE}::test_what_is_no_weights_of_the_encoder_is_refused_and_nothing_kept",
        ),
        Mutant(
            "another file than the hub announced is kept",
            "pipeline/models/weights.py",
            "told.etag is None or told.etag != sha256",
            "told.etag is None",
            f"{HUB}::test_another_hash_than_announced_is_refused",
        ),
        Mutant(
            "a hub that never answers is waited for",
            "pipeline/models/weights.py",
            "get_hf_file_metadata(url, timeout=HUB_WAIT_S)",
            "get_hf_file_metadata(url)",
            f"{HUB}::test_a_hub_that_never_answers_is_given_up",
        ),
        Mutant(
            "what a torch file brings is run",
            "pipeline/models/encoders.py",
            "weights_only=True",
            "weights_only=False",
            f"{STORE}::test_what_is_no_weights_of_the_encoder_is_refused_and_nothing_kept",
        ),
        Mutant(
            "lost weights are not warned of",
            "pipeline/runtime/weights_folder.py",
            '        if stored_path(encoder, sha256).is_file():\n            return ""',
            '        if stored_path(encoder, sha256):\n            return ""',
            f"{FOLDER}::test_only_an_auto_without_its_weights_is_warned_of",
        ),
        Mutant(
            "an auto that nobody settled is random",
            "pipeline/models/encoders.py",
            'in (None, "hub", AUTO_RANDOM)',
            'in (None, "hub", AUTO, AUTO_RANDOM)',
            f"{STORE}::test_an_auto_that_nobody_settled_is_an_error_and_not_random",
        ),
    )
}
