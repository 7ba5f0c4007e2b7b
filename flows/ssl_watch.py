"""The flow `ssl-watch`: one look at the folder that `watch.folder` of a workspace names."""

from __future__ import annotations

from pathlib import Path

from prefect import flow, get_run_logger

from flows.loop import open_loop
from flows.views.round_report import render_again
from flows.watch.watcher import Watcher, watched_folder


@flow(name="ssl-watch", flow_run_name="look", log_prints=False)
def ssl_watch(workspace: str = ".") -> str:
    """Score what is new in the folder; returns what was found, in words."""
    log = get_run_logger()
    with open_loop(Path(workspace), log=log.info) as loop:
        looked = Watcher(loop=loop, folder=watched_folder(loop), show=render_again).look()
    log.info(str(looked))
    return str(looked)
