"""Planted faults of what somebody has without a checkout."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

INSTALL_TESTS = "tests/flows/services/test_label_studio_install.py"

PACKAGE: dict[str, tuple[Mutant, ...]] = {
    "The package": (
        Mutant(
            "quickstart removes whatever is in its folder",
            "flows/demo/quickstart.py",
            "    if root.exists() and (not root.is_dir() or any(root.iterdir())):\n",
            "    if root.is_file():\n",
            "tests/flows/demo/test_demo_settings.py::test_nothing_of_anybody_else_is_removed",
        ),
        Mutant(
            "half an installation of Label Studio counts",
            "flows/processes/label_studio_install.py",
            "    return (place / MARKER).is_file()\n",
            "    return place.is_dir()\n",
            f"{INSTALL_TESTS}::test_what_failed_is_said_and_made_anew",
        ),
        Mutant(
            "half an installation is filled up, whatever is in it",
            "flows/processes/label_studio_install.py",
            "        shutil.rmtree(place, ignore_errors=True)\n",
            "",
            f"{INSTALL_TESTS}::test_what_failed_is_said_and_made_anew",
        ),
        Mutant(
            "a wheel has no template",
            "pyproject.toml",
            '"workspace/template/*.yaml", ',
            "",
            "tests/e2e/test_wheel.py::test_it_holds_what_is_needed_and_nothing_else",
        ),
    )
}
