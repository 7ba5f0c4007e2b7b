"""The package as somebody else installs it: a wheel, in an environment far from here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
# Beside ours, programs that the loop starts from where its Python is.
PROGRAMS = ("dvc", "prefect")
PACKAGES = ("pipeline", "flows", "db", "ssl_loop")

pytestmark = pytest.mark.programs


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built in a copy: setuptools leaves its folders beside what it builds."""
    copy, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in PACKAGES:
        shutil.copytree(
            ROOT / name, copy / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
        )
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy2(path, copy)
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", out, copy)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def env(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel, and the libraries of this one: others take minutes."""
    env = tmp_path_factory.mktemp("elsewhere") / "env"
    run(sys.executable, "-m", "venv", "--without-pip", env)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(env)}))
    # Its own `.pth` files are not followed, so the checkout that is installed there is not seen.
    (site / "libraries.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    run(sys.executable, "-m", "pip", "--python", env / "bin/python", "install", "--no-deps", wheel)
    for script in entry_points(group="console_scripts"):
        if script.name in PROGRAMS:
            program = env / "bin" / script.name
            program.write_text(
                f"#!{env}/bin/python\n"
                f"import sys\nfrom {script.module} import {script.attr} as main\n"
                "sys.exit(main())\n"
            )
            program.chmod(0o755)
    return env


def run(*argv: object, cwd: Path | None = None) -> str:
    inherited = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(each) for each in argv], cwd=cwd, env=inherited, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_holds_what_is_needed_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = archive.read(next(n for n in names if n.endswith("METADATA"))).decode()
    for package in PACKAGES:
        assert f"{package}/py.typed" in names
    assert {f"flows/workspace/template/{n}.yaml" for n in ("params", "dvc", "prefect")} <= names
    assert "flows/processes/requirements-labelstudio.lock" in names
    assert {n.split("/")[0] for n in names if ".dist-info" not in n} == set(PACKAGES)
    required = re.findall(r"^Requires-Dist: (.*)$", metadata, re.MULTILINE)
    assert [r for r in required if "==" in r and "extra ==" not in r] == []


def test_a_workspace_is_made_far_from_the_checkout(env: Path, tmp_path: Path) -> None:
    where = run(env / "bin/python", "-c", "import flows; print(flows.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(env)
    (tmp_path / "classes.txt").write_text("road\ncar\n")
    (tmp_path / "photos").mkdir()
    for number in range(6):
        picture = Image.effect_noise((64, 48), 20 + 10 * number).convert("RGB")
        picture.save(tmp_path / f"photos/p{number}.png")
    loop, scene = env / "bin/ssl-loop", tmp_path / "scene"
    run(loop, "init", scene, "--classes", tmp_path / "classes.txt", cwd=tmp_path)
    assert (scene / "params.yaml").read_text().startswith("# Every knob of a workspace.")
    run(loop, "domain", "add", "day", "--images", tmp_path / "photos", "-w", scene, cwd=tmp_path)
    told = run(loop, "status", "--json", "-w", scene, cwd=tmp_path)
    assert '"day"' in told
    face = "import ssl_loop; print(ssl_loop.Workspace.__module__, len(ssl_loop.plan().choices) > 9)"
    said = run(env / "bin/python", "-c", face, cwd=scene)
    assert said.split()[-2:] == ["flows.workspace.workspace", "True"]
