"""Who wrote what the loop keeps."""

from __future__ import annotations

from collections.abc import Iterator

from flows.verify.evidence import Evidence, Finding
from flows.workspace.git.commit_owners import foreign_commits


def commits(evidence: Evidence) -> Iterator[Finding]:
    """Every commit that changed the loop's files is the loop's, or was accepted."""
    for commit in foreign_commits(evidence.workspace):
        yield Finding(
            where=f"commit {commit.revision[:10]}",
            what=commit.in_words(),
            remedy=f"`ssl-loop commit accept {commit.revision[:10]}`, or `git revert` it and "
            "`dvc checkout`",
        )
