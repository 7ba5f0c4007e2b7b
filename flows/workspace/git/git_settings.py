"""What people's git settings would do to the loop's files: hide them from git, convert their bytes,
leave them out of the working copy. Put right where the workspace may, named where it may not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from flows.workspace.git.commands import Git, blob_hash
from pipeline import layout
from pipeline.errors import WorkspaceError

# Everything that the loop commits, as patterns of .gitattributes.
_PATTERNS = (
    "/.gitattributes",
    "/.gitignore",
    "/.dvcignore",
    "/.dvc/**",
    "/data/**",
    "/dvc.lock",
    "/dvc.yaml",
    "/metrics/**",
    "/models/**",
    "/params.yaml",
    "/predictions/**",
    "/previous/**",
    "/query.csv",
    "/workspace.json",
)
# DVC and the manifest hash bytes: git must hand out what it was given.
ATTRIBUTES = "".join(
    f"{pattern} -text -eol -ident -filter -working-tree-encoding\n" for pattern in _PATTERNS
)
OWNED = tuple(pattern.strip("/").removesuffix("/**") for pattern in _PATTERNS)


def probes(domains: Iterable[str]) -> list[str]:
    """Names that git and DVC must be able to record."""
    files = [layout.PARAMS, layout.DVC_YAML, layout.MANIFEST, layout.QUERY, layout.EVALUATION]
    files += [layout.VAL_AREAS, layout.ANSWERS, Path("dvc.lock"), Path(".dvc/config")]
    files += [Path(".gitattributes"), Path(".gitignore"), Path(".dvcignore")]
    folders = [layout.PREVIOUS_TEACHER]
    for domain in domains:
        files.append(layout.shift_report(domain))
        folders += [layout.images_dir(domain), layout.masks_dir(domain)]
        folders.append(layout.annotations_dir(domain))
    files += [folder.with_name(f"{folder.name}.dvc") for folder in folders]
    files += [folder.with_name(".gitignore") for folder in folders]
    return list(dict.fromkeys(path.as_posix() for path in files))


def hidden(git: Git, names: Sequence[str]) -> dict[str, str]:
    """`name -> where it is said` of those that some list of patterns hides from git."""
    try:
        said = git.run("check-ignore", "--verbose", "--no-index", "--", *names)
    except WorkspaceError:  # none is
        return {}
    lines = [line.partition("\t") for line in said.decode(errors="replace").splitlines()]
    return {name: where for where, _, name in lines if ":!" not in where}


def uncover(git: Git, domains: Iterable[str]) -> None:
    """Let git and DVC see the loop's files; WorkspaceError for patterns of this repository's own.

    A person's list of patterns for all repositories is switched off in this one: DVC refuses
    what it hides.
    """
    names = probes(domains)
    if not (found := hidden(git, names)):
        return
    git.run("config", "core.excludesFile", "")
    if found := hidden(git, names):
        name, where = next(iter(found.items()))
        raise WorkspaceError(
            f"{git.root}: {name} and {len(found) - 1} more are hidden from git by {where}; the "
            "loop has to commit them: take that pattern out"
        )


def converted(git: Git) -> list[str]:
    """Tracked files of the loop that differ from HEAD's in their line endings alone."""
    if git.says("rev-parse", "--quiet", "--verify", "HEAD") is None:
        return []
    found = []
    for path, (_, blob) in git.files_at("HEAD", *OWNED).items():
        place = git.root / path
        if place.is_file() and not place.is_symlink():
            content = place.read_bytes()
            unix = content.replace(b"\r\n", b"\n")
            if unix != content and blob_hash(content, blob) != blob == blob_hash(unix, blob):
                found.append(path)
    return found


def convert_back(git: Git) -> list[str]:
    """Give `converted` files the bytes that git has, and keep it so in this repository."""
    found = converted(git)
    if found:
        git.run("config", "core.autocrlf", "false")
        for path in found:
            (git.root / path).write_bytes(git.show("HEAD", Path(path)))
        git.says("update-index", "--refresh")
    return found


def require_whole(git: Git) -> None:
    """WorkspaceError where git was told to leave files of the loop out of the working copy."""
    flagged = [
        line[2:] for line in git.listed("ls-files", "-v", "-z", "--", *OWNED) if line[0] in "Ss"
    ]
    if absent := [name for name in flagged if not (git.root / name).exists()]:
        raise WorkspaceError(
            f"{git.root}: a sparse checkout leaves out {', '.join(absent[:5])}"
            f"{' and more' if len(absent) > 5 else ''}: `git sparse-checkout disable`, or "
            "`git update-index --no-skip-worktree FILE` and `git checkout -- FILE`"
        )
