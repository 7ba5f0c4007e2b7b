"""Faults in a probe, in what is kept of its features, and in its contest with a network."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

MODEL_FILE = "pipeline/models/probe.py"
KEPT_FILE = "pipeline/inference/kept_features.py"
TRAINING_FILE = "pipeline/training/probes/probe_training.py"
CONTEST_FILE = "pipeline/training/probes/contest.py"
JOB_FILE = "pipeline/training/job.py"
PROBE_TESTS = "tests/pipeline/training/probes/test_probe_training.py"
KEPT_TESTS = "tests/pipeline/inference/test_kept_features.py"
CONTEST_TESTS = "tests/pipeline/training/probes/test_contest.py"

PROBES: dict[str, tuple[Mutant, ...]] = {
    "Probe": (
        Mutant(
            "its encoder's batch norms follow the training",
            MODEL_FILE,
            "        self.encoder.eval()\n",
            "",
            f"{PROBE_TESTS}::test_training_mode_leaves_the_encoders_statistics",
        ),
        Mutant(
            "features are not centred",
            MODEL_FILE,
            "F.conv2d(each - mean_C[:, None, None], ",
            "F.conv2d(each, ",
            f"{PROBE_TESTS}::test_its_formula_cell_by_cell",
        ),
        Mutant(
            "components are not whitened",
            "pipeline/training/probes/probe_components.py",
            "(vectors_CC[:, -kept:] * scale_D)",
            "(vectors_CC[:, -kept:])",
            f"{PROBE_TESTS}::test_components_are_those_of_a_whitened_pca",
        ),
        Mutant(
            "details share the components of the maps",
            MODEL_FILE,
            "            row, column = rows.stop, column + count\n",
            "            row, column = rows.stop, 0\n",
            f"{PROBE_TESTS}::test_details_have_components_of_their_own",
        ),
        Mutant(
            "a rare class is drawn no more often than it is there",
            TRAINING_FILE,
            "        kinds = torch.randint(len(self._sizes), (self._num_balanced,))\n",
            "        kinds = self._sizes.double().multinomial(self._num_balanced, True)\n",
            f"{PROBE_TESTS}::test_a_rare_class_is_drawn_as_often_as_a_common_one",
        ),
        Mutant(
            "parts of a cell are taught each other's classes",
            TRAINING_FILE,
            ".unflatten(1, (-1, classes_MS.shape[1]))",
            ".unflatten(1, (classes_MS.shape[1], -1)).transpose(1, 2)",
            f"{PROBE_TESTS}::test_each_part_of_a_cell_is_taught_its_own_class",
        ),
        Mutant(
            "every tile is taught the mask of the first row of tiles",
            TRAINING_FILE,
            "mask_HW[place.top : place.top + height, ",
            "mask_HW[:height, ",
            f"{PROBE_TESTS}::test_large_images_are_learnt_from_in_tiles",
        ),
        Mutant(
            "features on disk are more exact than those just made",
            KEPT_FILE,
            ".half().cpu()",
            ".cpu()",
            f"{KEPT_TESTS}::test_the_encoder_sees_a_tile_once",
        ),
        Mutant(
            "a file of another shape is taken",
            KEPT_FILE,
            "None if found is None or found.shape != shape else",
            "None if found is None else",
            f"{KEPT_TESTS}::test_an_array_of_another_shape_is_made_again",
        ),
        Mutant(
            "features of another encoder are taken",
            KEPT_FILE,
            "normalisation, _layers(network)], tensors.items())",
            "normalisation, _layers(network)], [])",
            f"{KEPT_TESTS}::test_another_encoder_or_size_is_another_file",
        ),
        Mutant(
            "the disk is filled",
            "pipeline/runtime/kept_files.py",
            "        if num_bytes > self._free_bytes:\n",
            "        if not num_bytes:\n",
            f"{KEPT_TESTS}::test_no_more_is_written_than_the_limit",
        ),
        Mutant(
            "the worse of network and probe is kept",
            CONTEST_FILE,
            "        kept=PROBE if miou_probe > miou else",
            "        kept=PROBE if miou_probe < miou else",
            f"{CONTEST_TESTS}::test_after_one_step_a_network_loses_to_a_probe",
        ),
        Mutant(
            "being judged changes the network",
            JOB_FILE,
            "    kept = LoadedModel(trained.network.eval(), config)\n",
            "    kept = LoadedModel(trained.network.train(), config)\n",
            f"{CONTEST_TESTS}::test_a_probe_that_learnt_nothing_loses",
        ),
        Mutant(
            "images of other domains judge",
            CONTEST_FILE,
            "    return spread(own or masked, MOST_JUDGED)\n",
            "    return spread(masked, MOST_JUDGED)\n",
            f"{CONTEST_TESTS}::test_the_current_domains_images_judge_if_it_has_any",
        ),
        Mutant(
            "a line that takes the configuration's reader minutes is read",
            "flows/workspace/dvc/dvc_config.py",
            "        if len(line) > LONGEST_LINE or indent > DEEPEST_INDENT:\n",
            "        if len(line) > LONGEST_LINE:\n",
            "tests/flows/workspace/dvc/test_dvc_config.py::"
            "test_a_damaged_file_is_named_without_what_it_holds",
        ),
    ),
}
