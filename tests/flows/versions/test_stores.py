"""Every kind of remote that `ssl-loop remote add` takes by URL, on a real server: there and back.

The first run installs DVC's plugins and the servers into build/stores, beside the project's own
packages; SSH needs the machine's sshd (apt-get install openssh-server).
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.processes.command import wait_until
from flows.services.label_studio_server import free_port
from flows.versions.restore import restore
from flows.views.status import status
from flows.workspace import remote as remotes
from flows.workspace.workspace import Workspace
from tests.flows.conftest import Campaign, hashes
from tests.flows.test_crashes import open_loop, run_tick

ROOT = Path(__file__).parents[3]
STORES = ROOT / "build/stores"
PLUGINS = ("dvc-s3==3.3.0", "dvc-gs==3.1.0", "dvc-ssh==4.3.0")
SERVERS = ("moto[server,s3]==5.2.5", "gcp-storage-emulator==2026.7.19")
PATIENCE_S = 60.0


@pytest.fixture(scope="session")
def plugins() -> Path:
    """Where DVC's plugins lie, in the versions that go with requirements.lock."""
    folder = STORES / "plugins"
    pinned = ["--constraint", str(ROOT / "requirements.lock"), *PLUGINS]
    _once(folder, [sys.executable, "-m", "pip", "install", "--quiet", "--target", folder, *pinned])
    return folder


@pytest.fixture(scope="session")
def servers() -> Path:
    """The programs that stand for Amazon's and Google's."""
    folder = STORES / "servers"
    _once(
        folder,
        [sys.executable, "-m", "venv", folder],
        [folder / "bin/python", "-m", "pip", "install", "--quiet", *SERVERS],
    )
    return folder / "bin"


@pytest.fixture(params=["s3", "gs", "ssh"])
def url(
    request: pytest.FixtureRequest,
    plugins: Path,
    servers: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[str]:
    """The address of an empty store that answers, its credentials in the environment."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(plugins)])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(plugins)]))
    port, serve = free_port(), {"s3": _s3, "gs": _gs, "ssh": _ssh}[request.param]
    argv, environment, address = serve(servers, port, tmp_path)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with (tmp_path / "server.log").open("wb") as log:
        server = subprocess.Popen(argv, stdout=log, stderr=subprocess.STDOUT)
    try:
        if not wait_until(lambda: _answers(port), PATIENCE_S):
            pytest.fail(f"no answer at port {port}:\n{(tmp_path / 'server.log').read_text()}")
        if request.param == "s3":
            bucket = ["curl", "--silent", "--fail", "-X", "PUT", f"http://127.0.0.1:{port}/scenes"]
            subprocess.run(bucket, check=True)
        yield address
    finally:
        server.terminate()
        server.wait()


@pytest.mark.slow
def test_what_is_tagged_comes_back_from_the_store(
    url: str, campaign: Campaign, tmp_path: Path
) -> None:
    root = campaign.copy(tmp_path)
    remotes.add(Workspace(root), url, str(tmp_path / "history.git"))
    assert run_tick(root, tmp_path / "tool.json") == "waiting 0/3: 3 open (dusk/r0)"
    loop = open_loop(root, tmp_path / "tool.json")
    now = status(loop)
    loop.ledger.close()
    assert now.not_pushed == (), now.push_failure
    shutil.rmtree(root)
    found = restore(str(tmp_path / "history.git"), "day/r1", tmp_path / "new", lambda line: None)
    left_out = tuple(f"{path}/" for path in found.proof.to_be_made)
    expected = {path: h for path, h in campaign.day_r1.items() if not path.startswith(left_out)}
    assert hashes(tmp_path / "new", "data", "models", "predictions") == expected


Served = tuple[list[str], dict[str, str], str]


def _s3(servers: Path, port: int, _: Path) -> Served:
    keys = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
    place = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_DEFAULT_REGION": "us-east-1"}
    argv = [str(servers / "moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    return argv, keys | place, "s3://scenes/here"


def _gs(servers: Path, port: int, _: Path) -> Served:
    argv = [str(servers / "gcp-storage-emulator"), "start", "--in-memory", "--host", "127.0.0.1"]
    argv += ["--port", str(port), "--default-bucket", "scenes"]
    return argv, {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}"}, "gs://scenes/here"


def _ssh(_: Path, port: int, base: Path) -> Served:
    sshd = shutil.which("sshd", path="/usr/sbin:/usr/bin:/sbin")
    assert sshd, "no sshd here: apt-get install openssh-server"
    home = base / "home"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    for key in (base / "host", home / ".ssh/id_ed25519"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    config = base / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {base}/host\nStrictModes no\n"
        f"AuthorizedKeysFile {home}/.ssh/id_ed25519.pub\nPidFile none\nPermitRootLogin yes\n"
        "Subsystem sftp internal-sftp\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)  # sshd as root wants it
    address = f"ssh://{os.environ.get('USER', 'root')}@127.0.0.1:{port}{base}/store"
    return [sshd, "-D", "-e", "-f", str(config)], {"HOME": str(home)}, address


def _once(folder: Path, *commands: list[str | Path]) -> None:
    """Run what fills a folder, unless it was filled to the end before."""
    filled = folder.with_name(f"{folder.name}.filled")
    if not filled.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        for command in commands:
            subprocess.run(command, check=True)
        filled.touch()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
