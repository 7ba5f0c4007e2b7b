"""Label Studio's environment: made whole or not at all, with the lock file's versions."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from flows.cli import main
from flows.processes import label_studio_install
from flows.processes.label_studio_install import (
    MARKER,
    Installed,
    install_label_studio,
    is_complete,
    label_studio_place,
)
from flows.services.label_studio_server import VENV_VARIABLE
from pipeline.errors import ServiceError

# Stands for uv: makes the folder, takes up two packages, ends as it is told.
UV = """#!{python}
import pathlib, sys
if sys.argv[1] == "venv":
    pathlib.Path(sys.argv[-1], "bin").mkdir(parents=True)
else:
    lock = pathlib.Path(sys.argv[-1]).read_text()
    print(" + label-studio==1.23.2" if "label-studio==" in lock else "no")
    print("noise")
    print(" + django==5")
    pathlib.Path(sys.argv[sys.argv.index("--python") + 1]).with_name("label-studio").touch()
    sys.exit({code})
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(label_studio_install.FOLDER_VARIABLE, str(tmp_path / "data"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(VENV_VARIABLE, raising=False)
    return tmp_path


def uv(folder: Path, code: int) -> None:
    program = folder / "uv"
    program.write_text(UV.format(python=sys.executable, code=code))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


@pytest.mark.programs
def test_it_is_installed_package_by_package_and_once(home: Path) -> None:
    uv(home, 0)
    steps = list(install_label_studio())
    assert [step.packages for step in steps] == [0, 1, 2, steps[0].of]
    assert steps[0].of > 50  # of the lock file
    assert is_complete(label_studio_place())
    assert list(install_label_studio()) == []
    assert sorted(each.suffix for each in label_studio_place().parent.iterdir()) == ["", ".lock"]


@pytest.mark.programs
def test_what_failed_is_said_and_made_anew(home: Path) -> None:
    uv(home, 3)
    with pytest.raises(ServiceError, match=r"exit code 3 .* django==5; mend it and repeat"):
        list(install_label_studio())
    assert not is_complete(label_studio_place())
    (label_studio_place() / "left").touch()
    uv(home, 0)
    assert Installed(2, len(_pins())) in list(install_label_studio())
    assert not (label_studio_place() / "left").exists()


@pytest.mark.programs
def test_who_stops_it_finds_it_not_installed(home: Path) -> None:
    uv(home, 0)
    steps = install_label_studio()
    next(steps), next(steps)
    steps.close()
    assert label_studio_place().exists()
    assert not (label_studio_place() / MARKER).exists()


@pytest.mark.programs
def test_the_command_installs_and_a_script_is_not_asked(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.services.label_studio_server.CHECKOUT", home)
    uv(home, 0)
    refused = CliRunner().invoke(main, ["quickstart", str(home / "demo")])
    assert refused.exit_code == 1
    assert "`ssl-loop labelstudio install` puts it into" in refused.output
    told = CliRunner().invoke(main, ["labelstudio", "install"])
    assert told.exit_code == 0, told.output
    assert str(label_studio_place() / "bin/label-studio") in told.output


def _pins() -> list[str]:
    return [line for line in label_studio_install._lock().splitlines() if "==" in line]
