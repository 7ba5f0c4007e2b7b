from __future__ import annotations

import re
import subprocess
import sys

import pytest

from pipeline.class_colours import _oklab, class_colours, rgb


def test_colours_are_distinct_hex_for_every_number_of_classes() -> None:
    colours = class_colours(255)
    assert len(set(colours)) == 255
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colours)


def test_a_new_class_recolours_nothing() -> None:
    assert class_colours(33)[:11] == class_colours(11)


def test_twenty_colours_are_told_apart() -> None:
    labs = [_oklab(rgb(colour)) for colour in class_colours(20)]
    gaps = [
        sum((a - b) ** 2 for a, b in zip(labs[i], labs[j], strict=True)) ** 0.5
        for i in range(20)
        for j in range(i)
    ]
    assert min(gaps) > 0.1  # 0.02 is about what an eye just notices


def test_oklab_matches_its_author_s_reference_values() -> None:
    assert _oklab((255, 255, 255)) == pytest.approx((1.0, 0.0, 0.0), abs=1e-4)
    assert _oklab((255, 0, 0)) == pytest.approx((0.62796, 0.22486, 0.12585), abs=1e-4)


@pytest.mark.parametrize("num_classes", [0, -1, 256])
def test_a_number_of_classes_out_of_range_is_refused(num_classes: int) -> None:
    with pytest.raises(ValueError, match=f"num_classes {num_classes}: expected 1 to 255"):
        class_colours(num_classes)


@pytest.mark.programs
def test_the_module_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'numpy', 'matplotlib'}"
    code = f"import pipeline.class_colours, sys; print({heavy} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
