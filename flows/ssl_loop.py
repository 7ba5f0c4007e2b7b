"""The flow `ssl-loop`: one idempotent tick of the loop in the workspace it is started in.

Started by hand (`prefect deployment run ssl-loop`), by event (Label Studio's hook) and by schedule;
whichever comes, the tick looks at the evidence and does what is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, ParamSpec, TypeVar

from prefect import State, Task, flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed
from prefect.tasks import TaskRunNameCallbackWithParameters, TaskRunNameValueOrCallable

from flows import run_page
from flows.loop import open_loop
from flows.tick import STEPS, Steps, tick
from flows.workspace.workspace import WorkspaceBusyError

P = ParamSpec("P")
R = TypeVar("R")
SERVICE_RETRIES = 2  # a service may be restarting; a stage is the next tick's to go on with


@dataclass(frozen=True, kw_only=True)
class StepTask(Generic[P, R]):
    """A step of the tick as a Prefect task, and what the run page shows of it."""

    task: Task[P, R]
    after: tuple[Callable[P, None], ...] = ()
    """Called with what the step was called with, once it is done."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the step as a task of the flow that is running."""
        done = self.task(*args, **kwargs)
        for show in self.after:
            show(*args, **kwargs)
        return done


def step_task(
    call: Callable[P, R], name: TaskRunNameValueOrCallable, *, retries: int = 0
) -> Task[P, R]:
    """The task; `name` is each run's, with the step's arguments in braces.

    Without Prefect's caching of results: the evidence decides what is done (flows/tick.py).
    """
    return task(
        task_run_name=name,
        cache_policy=NO_CACHE,
        log_prints=False,
        retries=retries,
        retry_delay_seconds=2,
    )(call)


class _NewestTag(TaskRunNameCallbackWithParameters):
    """Names a push by the last of its tags, which braces cannot."""

    def __call__(self, parameters: dict[str, Any]) -> str:
        return f"push:{parameters['tags'][-1]}"


TASKS = Steps(
    take_in=StepTask(task=step_task(STEPS.take_in, "take-in:{name}")),
    take_more=StepTask(task=step_task(STEPS.take_more, "take-more:{more.domain}")),
    reproduce_stage=StepTask(task=step_task(STEPS.reproduce_stage, "dvc:{stage}")),
    seal_round=StepTask(
        task=step_task(STEPS.seal_round, "seal:{here.tag}"),
        after=(run_page.show_rounds, run_page.show_forgetting),
    ),
    publish=StepTask(
        task=step_task(STEPS.publish, "publish:{here.tag}", retries=SERVICE_RETRIES),
        after=(run_page.show_query,),
    ),
    collect=StepTask(task=step_task(STEPS.collect, "collect:{here.tag}", retries=SERVICE_RETRIES)),
    collect_late=StepTask(
        task=step_task(STEPS.collect_late, "collect-late", retries=SERVICE_RETRIES)
    ),
    merge=StepTask(task=step_task(STEPS.merge, "merge:{here.labels_tag}")),
    finish=StepTask(task=step_task(STEPS.finish, "finish:{domain}")),
    push=StepTask(task=step_task(STEPS.push, _NewestTag())),
)


@flow(name="ssl-loop", flow_run_name=run_page.run_name, log_prints=False)
def ssl_loop(workspace: str = ".") -> str | State[str]:
    """Carry the loop in `workspace` on; returns where it waits, such as 'waiting 3/8: 5 open'.

    A run that finds another at work is completed with nothing done, its state named Busy.
    """
    log = get_run_logger()
    with open_loop(Path(workspace), log=log.info) as loop:
        try:
            return tick(loop, TASKS)
        except WorkspaceBusyError as busy:
            # No failure: on a busy machine Prefect gives a run's place to the next before it has
            # begun, and then several begin.
            log.info(str(busy))
            return Completed(name="Busy", message=str(busy))
