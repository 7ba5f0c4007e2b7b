"""Faults planted in what large images go through: bands, strips, decoded files, foreign bands."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

DATASET_FILE = "pipeline/data/dataset.py"
STORE_TESTS = "tests/pipeline/data/test_dataset.py"
TILE_TESTS = "tests/pipeline/inference/test_tiles.py"
ONNX_FILE = "pipeline/inference/onnx_predict.py"
ONNX_TESTS = "tests/pipeline/inference/test_onnx_predict.py"
AGGREGATE_TESTS = "tests/pipeline/uncertainty/test_aggregate.py"

LARGE_IMAGES: dict[str, tuple[Mutant, ...]] = {
    "Large images": (
        Mutant(
            "where two rows of tiles overlap the lower one alone counts",
            "pipeline/inference/tiles.py",
            "sums[..., rows:, :].clone()",
            "0 * sums[..., rows:, :].clone()",
            f"{TILE_TESTS}::test_overlapping_tiles_weigh_less_towards_their_borders",
        ),
        Mutant(
            "a strip ends before the rows that its last one is made of are seen",
            "pipeline/inference/strips.py",
            "    return max(0, math.floor((band.end - 0.5) * size[0] / band.height - 0.5) - 1)\n",
            "    return max(0, math.floor((band.end - 0.5) * size[0] / band.height - 0.5) + 9)\n",
            "tests/pipeline/inference/test_strips.py::test_bands_make_no_difference",
        ),
        Mutant(
            "pixels of a box are scored at the places of the whole image",
            "pipeline/uncertainty/pixel_values.py",
            "        self._file.seek((self._box.y + rows.start) * row_bytes)",
            "        self._file.seek(rows.start * row_bytes)",
            "tests/pipeline/inference/test_pixels.py::"
            "test_a_box_is_predicted_as_if_it_were_an_image",
        ),
        Mutant(
            "the most uncertain pixels are those of half a number",
            "pipeline/uncertainty/aggregate.py",
            "np.uint32(high << 16 | low)",
            "np.uint32(high << 16)",
            f"{AGGREGATE_TESTS}::test_the_top_share_against_a_sorted_list",
        ),
        Mutant(
            "a decoded file of another size is mapped",
            DATASET_FILE,
            "        if found is None or found.shape != shape:\n",
            "        if found is None:\n",
            f"{STORE_TESTS}::test_a_damaged_or_lost_file_is_made_again",
        ),
        Mutant(
            "decoded files of all scales share a name",
            DATASET_FILE,
            'f"{sha256}-{shape[0]}x{shape[1]}.npy"',
            'f"{sha256}.npy"',
            f"{STORE_TESTS}::test_every_scale_has_files_of_its_own",
        ),
        Mutant(
            "what this stage needs makes room for itself",
            "pipeline/runtime/kept_files.py",
            " or when >= self._made:\n",
            ":\n",
            f"{STORE_TESTS}::test_the_disk_stays_bounded_and_old_files_make_room",
        ),
        Mutant(
            "a band is of rows, however long they are",
            "pipeline/row_bands.py",
            "    step = max(1, PIXELS_AT_ONCE // max(1, width))\n",
            "    step = 256\n",
            "tests/pipeline/data/test_bounds.py::"
            "test_reading_an_image_of_few_long_rows_takes_no_copies_of_it",
        ),
        Mutant(
            "a decoder is made for any WEBP",
            "pipeline/data/formats/images.py",
            "            _require_small_webp(path, file)\n",
            "",
            "tests/pipeline/data/test_bounds.py::test_no_decoder_is_made_for_a_large_webp",
        ),
        Mutant(
            "the fourth band of a TIFF is dropped in silence",
            "pipeline/data/formats/images.py",
            " or (bands > colours and no_alpha):\n",
            ":\n",
            "tests/pipeline/data/test_images.py::"
            "test_a_tiff_of_other_bands_is_refused_with_what_to_do",
        ),
        Mutant(
            "exported tiles count alike up to their borders",
            ONNX_FILE,
            "(OVERLAP * side)).clip(max=1)",
            "(OVERLAP * side)).clip(1, 1)",
            f"{ONNX_TESTS}::test_logits_are_those_of_our_tiles",
        ),
        Mutant(
            "an exported model sees black beyond a small image",
            ONNX_FILE,
            'mode="edge"',
            'mode="constant"',
            f"{ONNX_TESTS}::test_logits_are_those_of_our_tiles",
        ),
        Mutant(
            "areas are joined only where the lower stretch begins",
            "pipeline/campaign/annotation_time.py",
            "(begins_RW[1:] | begins_RW[:-1])",
            "begins_RW[1:]",
            "tests/pipeline/campaign/test_annotation_time.py",
        ),
        Mutant(
            "the top share of a small image is taken for its largest pixel",
            "pipeline/uncertainty/aggregate.py",
            "np.partition(strips[0], -count)[-count]",
            "np.partition(strips[0], -count)[-1]",
            f"{AGGREGATE_TESTS}::test_the_top_share_against_a_sorted_list",
        ),
    ),
}
