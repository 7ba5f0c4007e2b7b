"""Label Studio in a virtual environment of its own: its pins exclude those of Prefect.

The exact versions are those of `requirements-labelstudio.lock`, which is part of the package. An
environment is finished once it has its marker: what a stopped installation left is made anew.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import platformdirs
from filelock import FileLock

from pipeline.errors import ServiceError
from pipeline.files import write_text

LOCK = "requirements-labelstudio.lock"
FOLDER_VARIABLE = "SSL_LOOP_DATA_HOME"
ABOUT = "about 1 GB, some minutes"
MARKER = ".installed"
QUOTED_LINES = 5


class Installed(NamedTuple):
    """How far an installation is."""

    packages: int
    of: int


def label_studio_place() -> Path:
    """The environment that `install_label_studio` makes: one per lock file and Python.

    It lies in $SSL_LOOP_DATA_HOME, or where programs of this user keep their data
    (~/.local/share/ssl-loop on Linux).
    """
    home = os.environ.get(FOLDER_VARIABLE) or platformdirs.user_data_dir("ssl-loop")
    key = hashlib.sha256(f"{sys.version_info[:2]} {_lock()}".encode()).hexdigest()[:12]
    return Path(home).absolute() / f"label-studio-{key}"


def is_complete(place: Path) -> bool:
    """Whether an installation into `place` came to its end."""
    return (place / MARKER).is_file()


def install_label_studio(place: Path | None = None) -> Iterator[Installed]:
    """Install Label Studio into `place` (default: `label_studio_place()`), package by package.

    With uv where it is on the PATH, else with venv and pip. Nothing to do where it is complete.
    ServiceError with the installer's last lines where it failed.
    """
    place = place or label_studio_place()
    place.parent.mkdir(parents=True, exist_ok=True)
    wanted = sum("==" in line for line in _lock().splitlines())
    with FileLock(f"{place}.lock"):  # of two at a time the second finds it done
        if is_complete(place):
            return
        shutil.rmtree(place, ignore_errors=True)
        yield Installed(0, wanted)
        for number, _ in enumerate(_lines(place), start=1):
            yield Installed(min(number, wanted), wanted)
        write_text(place / MARKER, "")
    yield Installed(wanted, wanted)


def _lines(place: Path) -> Iterator[str]:
    """One line for each package that is taken up."""
    lock = place.with_name(f"{place.name}.txt")
    write_text(lock, _lock())
    if uv := shutil.which("uv"):
        make = [uv, "venv", "--python", sys.executable, str(place)]
        fill = [uv, "pip", "install", "--python", str(place / "bin/python")]
    else:
        make = [sys.executable, "-m", "venv", str(place)]
        fill = [str(place / "bin/python"), "-m", "pip", "install", "--disable-pip-version-check"]
    for _ in _run(make):
        pass
    for line in _run([*fill, "--requirement", str(lock)]):
        if line.startswith(("Collecting ", " + ")):
            yield line
    lock.unlink()


def _run(command: list[str]) -> Iterator[str]:
    last: list[str] = []
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            last = [*last, line.rstrip()][-QUOTED_LINES:]
            yield line
        if process.wait():
            raise ServiceError(
                f"{command[0]}: exit code {process.returncode} while installing Label Studio: "
                + " / ".join(last)
                + "; mend it and repeat the command"
            )
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _lock() -> str:
    return (files("flows.processes") / LOCK).read_text(encoding="utf-8")
