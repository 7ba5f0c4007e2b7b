"""Faults in what a plan chooses, and in when it chooses."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

RULES_FILE = "pipeline/planning/plan_rules.py"
RULE_TESTS = "tests/pipeline/planning/test_plan_rules.py"
LOOP_FILE = "flows/rounds/round_plan.py"
LOOP_TESTS = "tests/flows/rounds/test_round_plan.py"
DATA_FILE = "pipeline/planning/data_fingerprint.py"
DATA_TESTS = "tests/pipeline/planning/test_data_fingerprint.py"

PLANS_MADE: dict[str, tuple[Mutant, ...]] = {
    "Plan": (
        Mutant(
            "a choice of the plan is read as text",
            "pipeline/config/planned.py",
            "        return json.loads(text)\n",
            "        return text\n",
            "tests/pipeline/config/test_planned.py::"
            "test_a_choice_is_read_as_its_value_and_auto_as_the_default[train.steps]",
        ),
        Mutant(
            "a class of a tenth of the pixels is proposed as background",
            RULES_FILE,
            "DOMINANT = 0.5",
            "DOMINANT = 0.05",
            f"{RULE_TESTS}::test_a_class_that_covers_half_of_the_pixels_is_proposed_as_background",
        ),
        Mutant(
            "what a person set is planned over",
            "pipeline/planning/training_plan.py",
            "        if knob in free:\n",
            "        if knob:\n",
            f"{RULE_TESTS}::test_what_a_person_set_stands_and_later_rules_follow_it",
        ),
        Mutant(
            "rules do not see what was chosen before them",
            "pipeline/planning/training_plan.py",
            "            params = params.with_knobs(**{block: {name: value}})\n",
            "",
            f"{RULE_TESTS}::test_a_workspace_gets_what_the_rules_say[a GPU of 8 GB]",
        ),
        Mutant(
            "a batch that does not fit the memory is taken",
            RULES_FILE,
            "memory_mib <= available",
            "memory_mib > 0",
            f"{RULE_TESTS}::test_a_workspace_gets_what_the_rules_say[a GPU of 8 GB]",
        ),
        Mutant(
            "a class that cannot be seen does not spoil a scale",
            RULES_FILE,
            "math.prod(seen) ** (1 / len(seen))",
            "sum(seen) / len(seen)",
            f"{RULE_TESTS}::test_the_worth_of_a_scale_is_that_of_the_page",
        ),
        Mutant(
            "a blurred photograph is looked at pixel by pixel",
            RULES_FILE,
            "if by_masks or s <= data.detail_scale",
            "if by_masks or s",
            f"{RULE_TESTS}::test_no_scale_is_finer_than_the_photographs_are_sharp",
        ),
        Mutant(
            "an object counts as wide as it is long",
            DATA_FILE,
            "2 * float(distance) - 1",
            "float(area) ** 0.5",
            f"{DATA_TESTS}::test_a_bar_is_as_wide_as_its_short_side",
        ),
        Mutant(
            "sharp images count as blurred",
            DATA_FILE,
            "            break\n        kept = scale\n",
            "            pass\n        kept = scale\n",
            f"{DATA_TESTS}::test_what_is_fine_needs_every_pixel_and_what_is_coarse_does_not",
        ),
        Mutant(
            "a plan is made once for ever",
            LOOP_FILE,
            "AUTO not in left.values() and known == _kept(loop)",
            "AUTO not in left.values()",
            f"{LOOP_TESTS}::test_a_plan_stands_until_there_is_more_to_know",
        ),
        Mutant(
            "params are written before the reasons",
            LOOP_FILE,
            "    write_json(loop.root / layout.PLAN, {**known, **made.to_dict()})\n",
            "",
            f"{LOOP_TESTS}::test_a_round_keeps_what_was_planned_and_why",
        ),
        Mutant(
            "a look at the plan changes params.yaml",
            "flows/cli/learning.py",
            "    if write:\n",
            "    if made:\n",
            f"{LOOP_TESTS}::test_the_command_shows_and_changes_nothing",
        ),
    ),
}
