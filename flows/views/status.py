"""Where a workspace stands, for people and for scripts."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from db.repository import RoundAnswers, answers, item_states, ls_tasks
from db.session import session_scope
from flows.answers.unmerged import unmerged
from flows.ledger.records import advice_at, asked_at
from flows.loop import Loop
from flows.rounds.encoder_start import weights_warnings
from flows.rounds.offered_teacher import judgement_at, offered_tag
from flows.rounds.round_facts import audit_of, pool_pixels
from flows.services.stack import ServiceStatus
from flows.situation import CampaignState, Situation, campaign_state, read_situation
from flows.versions.pushes import last_failure, unpushed
from flows.watch.alarm import alarm_facts
from flows.workspace.holder import LockHolder
from flows.workspace.position import Position, round_tags
from flows.workspace.remote import remote
from pipeline.campaign.forgetting import Judgement
from pipeline.campaign.forgetting import describe as forgetting_words
from pipeline.campaign.spending import Spending, spending
from pipeline.campaign.spending import describe as spending_words
from pipeline.campaign.stopping import Advice, why_finished
from pipeline.campaign.stopping import describe as advice_words
from pipeline.metrics.audit_estimate import AuditEstimate
from pipeline.metrics.audit_estimate import describe as audit_words
from pipeline.records.manifest import read_manifest
from pipeline.records.query import QueryRow, by_image
from pipeline.report.data import AlarmFacts


@dataclass(frozen=True, kw_only=True)
class Status:
    """Everything `ssl-loop status` says; numbers come from tags, the ledger and the manifest."""

    workspace: str
    state: str  # of the current domain's campaign, as flows/situation.py names them
    domain: str | None
    round_index: int | None
    computed: bool
    asked: int  # images of the tagged query
    expected_minutes: float | None  # of people's time for all of them
    published: int  # of them, tasks made
    answered: int  # of them, accepted, skipped or given up
    unmerged: int  # images whose answer in the ledger is not the one in the data
    merged: int  # masks from people in the data, all domains
    labelled: int  # images that trainings learn from, all domains
    regions: int  # of the current domain that people answered, where not asked for whole images
    pixel_share: float | None  # of the pixels of its pool, those in these regions
    corrected: int  # of its images, those in which people corrected only what was wrong
    minutes: float  # of people's time that its answers took
    spending: Spending | None  # of the current domain: merged answers and the budget
    stop: str  # loop.stop
    finished: bool
    running: LockHolder | None  # who works in the workspace at this moment
    waiting_domains: tuple[str, ...]
    model_revision: str | None  # commit of the newest computed round that is not refused
    model_tag: str | None
    miou: dict[str, dict[str, float | None]]  # baseline and teacher on val, per domain
    transductive: bool  # that teacher learnt from val and test images, without their masks
    audit: AuditEstimate | None  # on the domain's images drawn at random; None before the first
    stopping: Advice | None  # what the newest computed round says
    not_pushed: tuple[str, ...]  # tags that the remotes lack; () where there is no remote
    push_failure: str  # why the last push of one of them failed; "" where none did
    half_remote: bool  # data go to a remote, git's history stays on this machine
    forgetting: Judgement | None  # what that round cost older domains
    alarm: AlarmFacts | None  # the newest of the watch on incoming images
    joining: dict[str, int] = field(default_factory=dict)  # domain -> images that wait to join it
    weights: tuple[str, ...] = ()  # what is amiss with the encoders' weights, under `auto`

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        plain = asdict(self)
        if self.stopping:
            plain["stopping"] = self.stopping.to_dict() | {
                "in_words": " ".join(advice_words(self.stopping))
            }
        if self.forgetting:
            plain["forgetting"] = self.forgetting.to_dict() | {
                "refused": self.forgetting.refused,
                "in_words": " ".join(forgetting_words(self.forgetting)),
            }
        return plain


def describe(found: Status, services: list[ServiceStatus]) -> str:
    """For people: where the loop stands, what it waits for, what runs."""
    lines = [*_stands_where(found), *_running(found.running)]
    if found.model_tag:
        lines.append(f"newest models: {found.model_tag} ({str(found.model_revision)[:10]})")
        marks = {"teacher": "teacher (transductive)"} if found.transductive else {}
        lines += [
            f"  {marks.get(kind, kind)} on val: {_by_domain(miou)}"
            for kind, miou in found.miou.items()
        ]
    if found.audit:
        lines.append(f"on images drawn at random: {audit_words(found.audit)}")
    if found.stopping:
        lines += [f"stopping: {sentence}" for sentence in advice_words(found.stopping)]
    lines += _unsafe(found)
    lines += [f"WARNING: {sentence}" for sentence in found.weights]
    if found.forgetting:
        lines += [f"older domains: {sentence}" for sentence in forgetting_words(found.forgetting)]
    if found.alarm:
        lines.append(f"incoming images: {_alarm(found.alarm)}")
    for service in services:
        state = "answers" if service.answering else "runs" if service.alive else "is down"
        lines.append(f"{service.name} {state}{f' at {service.url}' if service.url else ''}")
    return "\n".join(lines)


def _stands_where(found: Status) -> list[str]:
    """The current domain: its round, its labels, what it may ask for, who waits for its end."""
    if found.domain is None:
        waits = ", ".join(found.waiting_domains) or "none; `ssl-loop domain add` brings one"
        return [f"no domain yet; waiting: {waits}"]
    lines = [
        f"domain {found.domain}, round {found.round_index}: {_stands(found)}",
        f"labels: {found.labelled} to learn from, {found.merged} from people{_waiting(found)}",
    ]
    if found.spending and not found.finished:
        lines.append(f"answers: {_budget(found, found.spending)}")
    if found.pixel_share is not None:
        lines.append(
            f"regions: {found.regions} answered, {100 * found.pixel_share:.2f} % of the pixels "
            f"of {found.domain}, {found.minutes:.0f} min of people's time"
        )
    if found.corrected:
        lines.append(
            f"corrections: made in {found.corrected} images of {found.domain}, "
            f"{found.minutes:.0f} min of people's time"
        )
    for name, count in found.joining.items():
        lines.append(f"{count} more image(s) of {name} join it before the next round")
    if found.waiting_domains:
        lines.append(f"domains waiting: {', '.join(found.waiting_domains)}{_turn(found)}")
    return lines


def _waiting(found: Status) -> str:
    return f", {found.unmerged} answered and not merged yet" if found.unmerged else ""


def _unsafe(found: Status) -> list[str]:
    """What would be lost with this machine, where there is a remote for it."""
    lines = []
    if found.not_pushed:
        lines.append(f"NOT PUSHED, on this machine alone: {', '.join(found.not_pushed)}")
        lines += [f"  {line}" for line in found.push_failure.splitlines()]
    if found.half_remote:
        lines.append("HISTORY ON THIS MACHINE ALONE: `ssl-loop remote add --git URL`")
    return lines


def _alarm(alarm: AlarmFacts) -> str:
    at = alarm.at[:16].replace("T", " ")
    opened = f"domain {alarm.opened} opened" if alarm.opened else "no domain opened for it"
    return f"from no known domain since {alarm.since}, noticed {at} UTC in {alarm.folder}; {opened}"


def _stands(found: Status) -> str:
    if not found.computed:
        computing = found.running and found.running.stage
        return "being computed now" if computing else "to be computed by the next tick"
    if found.state == "reopened":
        return "finished before, and there is to ask or to learn from: the next tick goes on"
    if not found.asked and found.spending:
        return f"finished: {why_finished(found.stopping, found.spending)}"
    minutes = found.expected_minutes
    work = "" if minutes is None else f", about {minutes:.0f} min of work in all"
    return f"waiting for people, {found.answered}/{found.asked} answered{work}"


def _budget(found: Status, of: Spending) -> str:
    """What is spent, and where no budget ends the domain, what does."""
    said = spending_words(of)
    if of.budget is not None:
        return said
    rules = "close it too" if found.stop == "auto" else "only advise"
    return (
        f"{said}: the loop asks on. `domains.{found.domain}.budget: {of.spent}` in params.yaml "
        f"ends it after this round; the stopping rules {rules} (loop.stop: {found.stop})"
    )


def _turn(found: Status) -> str:
    """How the first of the domains that wait gets its turn."""
    if found.state in ("arriving", "superseded"):
        return ", taken in by the next tick"
    limited = found.spending is not None and found.spending.budget is not None
    why = "has not spent its budget" if limited else "has no budget that would end it"
    return f"; {found.domain} {why}: `ssl-loop round close` moves on, for good"


def _running(holder: LockHolder | None) -> list[str]:
    if holder is None:
        return []
    said = f"running: process {holder.pid} works here {_for(holder.since)}"
    stage = f"; stage {holder.stage} {_for(holder.stage_since)}" if holder.stage_since else ""
    return [said + stage]


def _for(since: str) -> str:
    begun = datetime.fromisoformat(since)
    minutes = (datetime.now(UTC) - begun).total_seconds() / 60
    return f"since {begun:%H:%M} UTC ({max(0, minutes):.0f} min)"


def _by_domain(miou: dict[str, float | None]) -> str:
    return ", ".join(
        f"{domain} {'not yet measurable' if value is None else f'{value:.3f} mIoU'}"
        for domain, value in miou.items()
    )


def status(loop: Loop) -> Status:
    """Read the evidence; changes nothing and asks no service."""
    params, now = loop.read_params(), read_situation(loop)
    here, state = now.here, campaign_state(now)
    samples = loop.workspace.manifest()
    rounds = round_tags(params.domains, loop.workspace.tags_merged())
    newest = rounds[-1][2] if rounds else None
    offered = offered_tag(loop.workspace)
    evaluation = _evaluation(loop, offered)
    query = asked_at(loop.workspace, here.tag) if here and here.computed else []
    asked, published, answered = _query_counts(loop, here, query)
    minutes = [row.minutes for row in query if row.minutes is not None]
    not_pushed = unpushed(loop)
    return Status(
        workspace=str(loop.root),
        state=state.name.lower(),
        domain=here.domain if here else None,
        round_index=here.round_index if here else None,
        computed=bool(here and here.computed),
        asked=asked,
        expected_minutes=round(sum(minutes), 2) if minutes else None,
        published=published,
        answered=answered,
        unmerged=len(unmerged(loop)),
        merged=sum(sample.origin == "annotated" for sample in samples),
        labelled=sum(sample.labelled for sample in samples),
        corrected=sum(s.corrected for s in samples if here and s.domain == here.domain),
        **_people(loop, here),
        spending=spending(samples, params, here.domain) if here else None,
        stop=params.loop.stop,
        finished=state is CampaignState.ANSWERED,
        running=loop.workspace.holder(),
        waiting_domains=now.waiting,
        joining=_joining(loop, now),
        model_revision=loop.workspace.revision(offered) if offered else None,
        model_tag=offered,
        miou=_miou(evaluation),
        transductive=evaluation.get("transductive", False),
        audit=audit_of(loop, here.domain) if here else None,
        stopping=advice_at(loop.workspace, newest) if newest else None,
        not_pushed=tuple(not_pushed),
        push_failure=last_failure(loop, not_pushed),
        half_remote=bool((to := remote(loop.workspace)).data and not to.git),
        forgetting=judgement_at(loop.workspace, newest) if newest else None,
        alarm=next(iter(alarm_facts(loop)[-1:]), None),
        weights=tuple(weights_warnings(params)),
    )


def _joining(loop: Loop, now: Situation) -> dict[str, int]:
    found: Counter[str] = Counter()
    for more in now.more:
        found[more.domain] += len(read_manifest(more.folder(loop.root) / "samples.csv"))
    return dict(found)


def _people(loop: Loop, here: Position | None) -> dict[str, Any]:
    """What the ledger says of the current domain's answers."""
    given: list[RoundAnswers] = []
    if here is not None:
        with session_scope(loop.ledger, read_only=True) as session:
            given = answers(session, here.domain)
    by_regions = here is not None and any(row.regions_asked for row in given)
    pixels = sum(row.pixels_accepted for row in given)
    return {
        "regions": sum(row.regions_accepted for row in given),
        "pixel_share": pixels / pool_pixels(loop, here.domain) if here and by_regions else None,
        "minutes": sum(row.lead_minutes for row in given),
    }


def _query_counts(loop: Loop, here: Position | None, query: list[QueryRow]) -> tuple[int, int, int]:
    if here is None or not here.computed:
        return 0, 0, 0
    with session_scope(loop.ledger, read_only=True) as session:
        tasks = ls_tasks(session, here.domain, here.round_index)
        states = item_states(session, here.domain, here.round_index)
    answered = sum(state.settled for state in states.values())
    return len(by_image(query)), len(tasks), answered


def _evaluation(loop: Loop, tag: str | None) -> dict[str, Any]:
    return loop.workspace.evaluation_at(tag) if tag else {}


def _miou(evaluation: dict[str, Any]) -> dict[str, dict[str, float | None]]:
    return {
        kind: {domain: splits["val"]["miou"] for domain, splits in evaluation[kind].items()}
        for kind in ("baseline", "teacher")
        if kind in evaluation
    }
