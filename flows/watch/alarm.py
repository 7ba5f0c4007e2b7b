"""Reporting a shift: log, ledger, Prefect event; and opening a domain for it.

Each part may be done again: the ledger knows the shift by its key, so does Prefect.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from db.repository import events, record_event
from db.session import session_scope
from flows.domains.add import add_domain
from flows.domains.incoming import names_taken
from flows.domains.shift_on_arrival import on_arrival
from flows.loop import Loop
from flows.services import prefect_server
from flows.watch.log import Line, ShiftAlarm, WatchLog
from pipeline import layout
from pipeline.data.names import leads_out, near_stem
from pipeline.report.data import AlarmFacts

WHO = "ssl-watch"
EVENT = "ssl-loop.shift"
NOTICED, OPENED = "shift_noticed", "shift_opened"  # kinds of event in the ledger
TIMEOUT_S = 20.0


def in_words(shift: ShiftAlarm) -> str:
    """The alarm in a sentence."""
    return (
        f"new images come from no known domain since {shift.since}: {shift.num_images} images up "
        f"to {shift.image}, nearest to domain {shift.nearest_domain} "
        f"(suspicion {shift.suspicion:.0f})"
    )


def tell(loop: Loop, log: WatchLog, shift: ShiftAlarm) -> None:
    """Report an alarm; ServiceError when Prefect did not take it: then the next look reports it."""
    loop.log(f"ALARM: {in_words(shift)}")
    detail = {**asdict(shift), "folder": str(log.folder)}
    with session_scope(loop.ledger) as session:
        record_event(
            session,
            kind=NOTICED,
            who=WHO,
            subject=shift.key,
            detail=detail,
            at=datetime.fromisoformat(shift.at),
        )
    server = prefect_server.api(loop.root)
    if server is None:
        loop.log("no Prefect server here (`ssl-loop up` starts one): its event is left out")
    else:
        payload = {**detail, "workspace": str(loop.root)}
        prefect_server.emit(
            server,
            payload=payload,
            timeout_s=TIMEOUT_S,
            event=EVENT,
            key=f"{loop.root}/{shift.key}",
        )
    log.add([{"is": "raised", "shift": shift.key}])


def open_domain(loop: Loop, log: WatchLog) -> str | None:
    """Open a domain for the shift that lasts, once it has enough images; its name, or None.

    Killed half-way, the next look goes on with the same name.
    """
    shift = log.lasting
    if shift is None or shift.key in log.opened:
        return None
    images, params = log.images[shift.first :], loop.read_params()
    if len(images) < params.watch.domain_size and shift.key not in log.opening:
        return None
    if shift.key not in log.opening:
        name = free_name({*params.domains, *names_taken(loop.root)})
        log.add([{"is": "opening", "shift": shift.key, "domain": name}])
    name = log.opening[shift.key]
    if name not in {*params.domains, *names_taken(loop.root)}:
        folder = loop.root / layout.WATCH / f"{log.path.stem}-opening"
        try:
            _gather(log.folder, images, folder)
            loop.log(str(add_domain(loop.root, name, images=folder, links_into=log.folder)))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    if name in names_taken(loop.root):
        on_arrival(loop.root, name, loop.log)
    with session_scope(loop.ledger) as session:
        record_event(
            session,
            kind=OPENED,
            who=WHO,
            domain=name,
            subject=shift.key,
            detail={"images": len(images), "folder": str(log.folder)},
        )
    log.add([{"is": "opened", "shift": shift.key, "domain": name}])
    return name


def alarm_facts(loop: Loop) -> tuple[AlarmFacts, ...]:
    """Every shift that was noticed here, for the report."""
    with session_scope(loop.ledger, read_only=True) as session:
        opened = {event.subject: event.domain for event in events(session, OPENED)}
        noticed = [(event.subject, event.detail) for event in events(session, NOTICED)]
    names = ("at", "folder", "since", "image", "num_images", "nearest_domain", "suspicion")
    return tuple(
        AlarmFacts(**{name: detail[name] for name in names}, opened=opened.get(key))
        for key, detail in noticed
    )


def free_name(taken: Collection[str]) -> str:
    """`shift-1`, or the first number that is free."""
    number = 1
    while f"shift-{number}" in taken:
        number += 1
    return f"shift-{number}"


def _gather(source: Path, images: list[Line], folder: Path) -> None:
    """Links to the images that are still there, under names that a domain may have."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    taken: set[str] = set()
    for line in images:
        file = source / line["name"]
        if not file.exists() or leads_out(file, source):
            continue
        stem = near_stem(file.stem)
        if stem.casefold() in taken:
            stem = f"{stem}-{line['sha256'][:8]}"
        taken.add(stem.casefold())
        (folder / f"{stem}{file.suffix}").symlink_to(file)
