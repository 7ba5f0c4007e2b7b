"""`ssl-loop simulate-annotator`: true masks answer a workspace's open query, as people would."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterable
from dataclasses import asdict, fields
from pathlib import Path
from types import FrameType

from flows.annotators.simulated import AnswerSummary, Behaviour, SimulatedAnnotator
from flows.ledger.domain_projects import own_projects
from flows.services import stack
from flows.workspace.identity import require_identity
from flows.workspace.workspace import Workspace
from pipeline.errors import ConfigError, ServiceError


def simulate(  # noqa: PLR0913 - one keyword per option of the command
    root: Path,
    *,
    truth: Path,
    seed: int,
    rates: Iterable[str],
    watch: bool,
    as_json: bool,
    echo: Callable[[str], object],
) -> None:
    """Answer all open tasks of the workspace once, or until interrupted when `watch`."""
    workspace = Workspace(root)
    workspace.require()
    params = workspace.params()
    url, token = stack.annotation_tool(workspace.root, params)
    person = SimulatedAnnotator(url, token, truth, behaviour(seed, rates))

    def tell(title: str, summary: AnswerSummary) -> None:
        counts = {name: count for name, count in asdict(summary).items() if count}
        echo(json.dumps({"project": title, **counts}) if as_json else f"{title}: {counts}")

    passes = iter([False])
    stopped = _on_signal() if watch else (lambda: next(passes, True))

    def projects() -> list[int]:
        return own_projects(stack.ledger_url(root), require_identity(root).id)

    def tell_failure(error: ServiceError) -> None:
        echo(json.dumps({"failure": str(error)}) if as_json else f"goes on after: {error}")

    on_failure = tell_failure if watch else None
    total = person.run(stopped, projects=projects, on_answers=tell, on_failure=on_failure)
    if not total.answered:
        echo(json.dumps({"answered": 0}) if as_json else "nothing is open")


def behaviour(seed: int, rates: Iterable[str]) -> Behaviour:
    """`["skip=0.1"]` as a Behaviour; ConfigError lists the known names."""
    known = [field.name for field in fields(Behaviour) if field.name != "seed"]
    values: dict[str, float] = {}
    for rate in rates:
        name, separator, text = rate.partition("=")
        try:
            values[name] = float(text)
        except ValueError:
            separator = ""
        if name not in known or not separator:
            raise ConfigError(f"--rate {rate!r}: expected NAME=NUMBER, NAME of {', '.join(known)}")
    return Behaviour(seed=seed, **values)


def _on_signal() -> Callable[[], bool]:
    """False until this process is asked to end; the answer under way is finished first."""
    asked: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        asked.append(number)

    signal.signal(signal.SIGTERM, note)
    signal.signal(signal.SIGINT, note)
    return lambda: bool(asked)
