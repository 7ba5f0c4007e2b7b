"""`ssl-loop remote`: where everything that was tagged lies a second time.

A pair under one name: DVC's remote for data, git's for history. The name says that the tick may
push there; other remotes of the repository are left alone. After `git clone --origin backup` the
pair is together again, since DVC's half is in git.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from flows.processes.command import run
from flows.workspace.dvc.dvc_config import CONFIG, effective, in_git
from flows.workspace.workspace import Workspace
from pipeline.errors import ConfigError, WorkspaceError

NAME = "backup"
SOURCE = "source"  # git's name for where a restored workspace came from
LOOK_LIMIT_S = 60.0
# scheme -> (module of DVC's plugin, what to install); a path on this machine needs none.
PLUGINS = {
    "s3": ("dvc_s3", "dvc[s3]"),
    "gs": ("dvc_gs", "dvc[gs]"),
    "ssh": ("dvc_ssh", "dvc[ssh]"),
    "azure": ("dvc_azure", "dvc[azure]"),
    "webdavs": ("dvc_webdav", "dvc[webdav]"),
}
# Options of DVC's remotes that open them, and parts of an address that do.
_SECRET = re.compile(
    r"key|token|secret|password|passphrase|credential|connection_string|sig\b|signature", re.I
)
_NO_SECRETS = {"keyfile", "credentialpath", "sse_kms_key_id", "ask_password", "ask_passphrase"}
_TOKEN_LENGTH = 20  # a user's name is shorter
_USERINFO = re.compile(rf"(?<=://)([^/\s@]+:[^/\s@]*|[^/\s@]{{{_TOKEN_LENGTH},}})@")


@dataclass(frozen=True, kw_only=True)
class Remote:
    """Where tags are pushed to; None for the half that is not set up."""

    data: str | None
    git: str | None

    def __bool__(self) -> bool:
        return bool(self.data or self.git)

    def in_words(self) -> str:
        """Both halves, for people."""
        half = "none; `ssl-loop remote add"
        data, git = self.data or f"{half} URL`", self.git or f"{half} --git URL`"
        return redacted(f"data: {data}; history: {git}")


def remote(workspace: Workspace) -> Remote:
    """The pair as it is set up now; falsy when there is none.

    What a restored workspace was lent is for reading, until it has a history of its own somewhere.
    """
    git_url = workspace.git.says("config", "--get", f"remote.{NAME}.url")
    lent = workspace.git.says("config", "--get", f"remote.{SOURCE}.url") is not None
    if lent and git_url is None:
        return Remote(data=None, git=None)
    return Remote(data=effective(workspace.root).url(NAME), git=git_url)


def add(workspace: Workspace, url: str | None, git_url: str | None) -> Remote:
    """Set up one half or both, and look whether they answer; what was set up before is replaced.

    ConfigError for an address that cannot be used, WorkspaceError for one that does not answer or
    holds another history; neither changes anything.
    """
    if url is None and git_url is None:
        raise ConfigError("remote add: name an address for data, for git (--git URL), or both")
    with workspace.lock():
        workspace.require_clean_branch()
        place = None if url is None else checked(url, workspace.root)
        if git_url is not None:
            _require_ours(workspace, git_url := _git_address(workspace, git_url))
        if place is not None:
            _require_no_secrets(workspace)
            own = effective(workspace.root).default_remote is not None
            default = () if own else ("--default",)
            workspace.dvc("remote", "add", "--force", *default, NAME, place)
            if "://" not in place:
                Path(place).mkdir(parents=True, exist_ok=True)
            workspace.commit([CONFIG], f"Data are pushed to {place}")
        if git_url is not None:
            known = workspace.git.says("config", "--get", f"remote.{NAME}.url") is not None
            workspace.git.run("remote", "set-url" if known else "add", NAME, git_url)
    return remote(workspace)


def remove(workspace: Workspace) -> Remote:
    """Forget the pair; what lies there stays. WorkspaceError when there is none."""
    found = remote(workspace)
    if not found:
        raise WorkspaceError(f"{workspace.root}: no remote; `ssl-loop remote add URL` sets one up")
    with workspace.lock():
        workspace.require_clean_branch()
        if NAME in in_git(workspace.root).remotes:
            workspace.dvc("remote", "remove", NAME)
            workspace.commit([CONFIG], "Data are pushed nowhere")
        if found.git:
            workspace.git.run("remote", "remove", NAME)
    return found


def checked(url: str, root: Path) -> str:
    """The address as DVC takes it, paths absolute; ConfigError says what to do about another."""
    scheme = urlsplit(url).scheme
    if "://" not in url:
        place = Path(url).expanduser().resolve()
        if place.is_relative_to(root):
            raise ConfigError(f"{url}: lies in the workspace and would be lost with it")
        if place.exists() and not place.is_dir():
            raise ConfigError(f"{url}: is a file; name a folder")
        return str(place)
    if scheme not in PLUGINS:
        raise ConfigError(
            f"{url}: scheme {scheme!r}, expected a path or one of "
            f"{', '.join(f'{known}://' for known in PLUGINS)}"
        )
    _require_public(url)
    module, extra = PLUGINS[scheme]
    if find_spec(module) is None:
        raise ConfigError(f"{url}: DVC cannot speak {scheme} here yet: pip install '{extra}'")
    return url


def redacted(text: str) -> str:
    """Text without user:password@ in addresses: git and DVC quote them in what they say."""
    return _USERINFO.sub("***@", text)


def _require_public(url: str) -> None:
    """ConfigError for an address that carries a password or a key."""
    parts = urlsplit(url)
    token = parts.password is not None or len(parts.username or "") >= _TOKEN_LENGTH
    if token or _SECRET.search(parts.query):
        raise ConfigError(
            f"{redacted(url).partition('?')[0]}: carries a secret, which would be written down in "
            f"plain; give the address alone, then `dvc remote modify --local {NAME} OPTION VALUE` "
            "for DVC, or a credential helper for git"
        )


def _git_address(workspace: Workspace, url: str) -> str:
    """The address as git takes it; a path that is not there becomes a bare repository."""
    if "://" in url or re.match(r"[^/]+:", url):
        _require_public(url)
        return url
    place = Path(url).expanduser().resolve()
    if place.is_relative_to(workspace.root):
        raise ConfigError(f"{url}: lies in the workspace and would be lost with it")
    if not place.exists() or (place.is_dir() and not any(place.iterdir())):
        branch = workspace.params().loop.branch
        workspace.git.run("init", "--quiet", "--bare", f"--initial-branch={branch}", str(place))
    return str(place)


def _require_ours(workspace: Workspace, url: str) -> None:
    """WorkspaceError unless the repository answers and is empty or holds this history."""
    branch = workspace.params().loop.branch
    argv = ["git", "ls-remote", url, f"refs/heads/{branch}"]
    said = run(argv, cwd=workspace.root, limit_s=LOOK_LIMIT_S)
    commit = said.decode().partition("\t")[0]
    if commit and workspace.git.says("merge-base", "--is-ancestor", commit, "HEAD") is None:
        raise WorkspaceError(
            f"{redacted(url)}: its branch {branch!r} holds another history ({commit[:12]}); name "
            "an empty repository: one workspace, one remote"
        )


def _require_no_secrets(workspace: Workspace) -> None:
    """WorkspaceError if .dvc/config, which git keeps, holds what opens a remote."""
    for name, settings in in_git(workspace.root).remotes.items():
        for key in settings:
            if _SECRET.search(key) and key not in _NO_SECRETS:
                raise WorkspaceError(
                    f"{CONFIG}: {key} of remote {name!r} would go into git; move it: "
                    f"`dvc remote modify --unset {name} {key}`, then "
                    f"`dvc remote modify --local {name} {key} VALUE`"
                )
