"""What the table of faults says of the checkout that it was made from."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.faults.report import revision

pytestmark = pytest.mark.programs


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "checkout"
    root.mkdir()
    (root / "code.py").write_text("one = 1\n")
    who = "-c user.name=me -c user.email=me@example.com"
    for command in ("init -q", "add .", f"{who} commit -qm First"):
        subprocess.run(["git", *command.split()], cwd=root, check=True)
    return root


def test_a_checkout_as_committed_is_named_by_its_commit_alone(checkout: Path) -> None:
    assert "-" not in revision(checkout)


def test_every_change_gives_another_name(checkout: Path, tmp_path: Path) -> None:
    names = [revision(checkout)]
    (checkout / "code.py").write_text("one = 2\n")
    names.append(revision(checkout))
    (checkout / "new.py").write_text("two = 2\n")
    names.append(revision(checkout))
    for target in (tmp_path, checkout, tmp_path / "nowhere"):
        (checkout / "link").unlink(missing_ok=True)
        (checkout / "link").symlink_to(target)
        names.append(revision(checkout))
    assert len(set(names)) == len(names)
    assert revision(checkout) == names[-1]


def test_a_repository_within_the_checkout_is_named_and_not_read(checkout: Path) -> None:
    subprocess.run(["git", "init", "-q", "within"], cwd=checkout, check=True)
    (checkout / "within/file").write_text("?")
    subprocess.run(["git", "add", "."], cwd=checkout / "within", check=True)
    assert "-" in revision(checkout)
