"""Faults in what people are asked to look at again."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

LABEL_ERRORS = "tests/pipeline/label_errors"
CONSENSUS = "tests/pipeline/consensus"

SECOND_LOOK: dict[str, tuple[Mutant, ...]] = {
    "Second look": (
        Mutant(
            "a head learns from the masks that it judges",
            "pipeline/label_errors/out_of_fold.py",
            "(masks_NP != IGNORE) & (fold_N != fold)[:, None]",
            "(masks_NP != IGNORE) & (fold_N >= 0)[:, None]",
            f"{LABEL_ERRORS}/test_suspect_components.py::"
            "test_no_head_learnt_from_the_mask_that_it_judges",
        ),
        Mutant(
            "the soft minimum is a soft maximum",
            "pipeline/label_errors/label_quality.py",
            "np.exp((given_P.min() - given_P)",
            "np.exp((given_P - given_P.max())",
            f"{LABEL_ERRORS}/test_label_quality.py::test_the_soft_minimum_is_the_papers",
        ),
        Mutant(
            "borders count as much as whole things",
            "pipeline/label_errors/suspect_components.py",
            "return surprise * math.log(len(given_M)) * whole**0.5",
            "return surprise * math.log(len(given_M))",
            f"{LABEL_ERRORS}/test_suspect_components.py::"
            "test_a_whole_thing_comes_before_a_border_of_the_same_size",
        ),
        Mutant(
            "images of which the model was sure count as accepted unseen",
            "db/repository/blind_answers.py",
            "or item.score < unsure",
            "or item.score < 0",
            "tests/contracts/repository/test_blind_answers.py::"
            "test_a_moment_without_a_change_where_the_model_was_unsure_is_blind",
        ),
        Mutant(
            "classes that tie get the first of them",
            "pipeline/consensus/joint_masks.py",
            "alone_N & (best_N1[:, 0] > 0)",
            "best_N1[:, 0] > 0",
            f"{CONSENSUS}/test_joint_masks.py::test_majority_is_unknown_where_classes_tie",
        ),
        Mutant(
            "a task goes on asking for a third look after the star",
            "flows/answers/disagreements.py",
            "least = None if one.decided else _least_agreement(loop, one)",
            "least = _least_agreement(loop, one)",
            "tests/flows/answers/test_disagreements.py::"
            "test_a_task_whose_answers_differ_says_so_until_one_is_starred",
        ),
    )
}
