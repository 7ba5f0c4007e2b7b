"""Who may look into .ssl-loop, however open it was left."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.loop import open_loop
from flows.services import prefect_server
from flows.workspace.credentials import PREFECT_TOML, SECRETS, credentials, write_private
from pipeline import layout
from pipeline.errors import WorkspaceError
from tests.support.another_user import readable_by_nobody


@pytest.fixture
def old(toy: Path) -> Iterator[Path]:
    """A workspace of an older version, where other users can go: all in it is open to them."""
    with tempfile.TemporaryDirectory(prefix="ssl-loop-test-") as name:
        Path(name).chmod(0o755)
        root = Path(shutil.copytree(toy, Path(name) / "workspace", symlinks=True))
        credentials(root)
        prefect_server.write_settings(root, 4200, "secret")
        database = root / layout.PRIVATE / "label-studio/label_studio.sqlite3"
        database.parent.mkdir()
        database.write_bytes(b"token")
        for folder in (root, root / layout.PRIVATE, database.parent):
            folder.chmod(0o755)
        for file in (database, root / SECRETS, root / PREFECT_TOML):
            file.chmod(0o644)
        yield root


def test_the_next_tick_closes_it(old: Path) -> None:
    private = {
        old / SECRETS,
        old / PREFECT_TOML,
        old / layout.PRIVATE / "label-studio/label_studio.sqlite3",
    }
    assert readable_by_nobody(private) == private
    with open_loop(old):
        pass
    assert readable_by_nobody(private) == set()
    assert (old / layout.PRIVATE).stat().st_mode & 0o777 == 0o700
    assert (old / SECRETS).stat().st_mode & 0o777 == 0o600


def test_what_another_has_open_is_said_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials(tmp_path)
    (tmp_path / layout.PRIVATE).chmod(0o755)

    def refused(path: Path, mode: int) -> None:
        raise PermissionError(path)

    monkeypatch.setattr(Path, "chmod", refused)
    with pytest.raises(WorkspaceError, match=r"chmod 700 .*\.ssl-loop"):
        credentials(tmp_path)


def test_a_private_file_is_whole_and_never_open(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")
    path.chmod(0o666)
    write_private(path, "after")
    assert path.read_text() == "after"
    assert path.stat().st_mode & 0o777 == 0o600


def test_secrets_of_before_prefect_had_a_login_get_one(tmp_path: Path) -> None:
    made = credentials(tmp_path)
    text = (tmp_path / SECRETS).read_text()
    without = text.replace(
        f'"prefect_password": "{made.prefect_password}"', '"prefect_password": ""'
    )
    assert without != text
    (tmp_path / SECRETS).write_text(without)
    renewed = credentials(tmp_path)
    assert renewed.prefect_password not in ("", made.prefect_password)
    assert renewed.webhook_secret == made.webhook_secret
    assert credentials(tmp_path) == renewed
