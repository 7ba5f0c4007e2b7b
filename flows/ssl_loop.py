"""The flow `ssl-loop`: one idempotent tick of the loop in the workspace it is started in.

Started by hand (`prefect deployment run ssl-loop`), by event (Label Studio's hook) and by schedule;
whichever comes, the tick looks at the evidence and does what is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE

from flows import run_page
from flows.loop import Loop, open_loop
from flows.steps.collect import collect, collect_late
from flows.steps.finish import finish
from flows.steps.merge import merge
from flows.steps.publish import publish
from flows.steps.push import push
from flows.steps.reproduce import reproduce_stage, seal_round
from flows.steps.take_in import take_in
from flows.tick import tick

# No Prefect result caching for anything: the evidence decides what is done (see flows/tick.py).
_OURS: dict[str, Any] = {"cache_policy": NO_CACHE, "log_prints": False}
# Services may be restarting; a stage is not retried here, since the next tick carries on anyway.
_SERVICE: dict[str, Any] = {**_OURS, "retries": 2, "retry_delay_seconds": 2}

TASKS: dict[Callable[..., Any], Any] = {
    take_in: task(**_OURS)(take_in),
    reproduce_stage: task(**_OURS)(reproduce_stage),
    seal_round: task(**_OURS)(seal_round),
    publish: task(**_SERVICE)(publish),
    collect: task(**_SERVICE)(collect),
    collect_late: task(**_SERVICE)(collect_late),
    merge: task(**_OURS)(merge),
    finish: task(**_OURS)(finish),
    push: task(**_OURS)(push),
}


def run_task(step: Callable[..., Any], *args: Any, name: str) -> Any:
    """The step as a Prefect task of that name, then the artifacts that show what it did."""
    result = TASKS[step].with_options(task_run_name=name)(*args)
    run_page.after(step, *args)
    return result


@flow(name="ssl-loop", flow_run_name="tick", log_prints=False)
def ssl_loop(workspace: str = ".") -> str:
    """Carry the loop in `workspace` on; returns where it waits, such as 'waiting 3/8: 5 open'."""
    log = get_run_logger()
    with open_loop(Path(workspace), log=log.info) as loop:
        return run_tick(loop)


def run_tick(loop: Loop) -> str:
    """`tick` with every step as a Prefect task."""
    return tick(loop, run=run_task)
