"""Numbers and facts of a report in plain words; no markup."""

from __future__ import annotations

from typing import Any

from pipeline.campaign import forgetting, stopping
from pipeline.campaign.idle_time import IdleTime
from pipeline.report.data import Report, RoundFacts

NOT_YET = "not yet measurable"
MINUS = "\N{MINUS SIGN}"
DASH = "\N{EN DASH}"
TRANSDUCTIVE = "\N{DAGGER}"
"""After a teacher's number where val and test images joined its unlabelled stream."""
TRANSDUCTIVE_NOTE = (
    f"{TRANSDUCTIVE} transductive: val and test images, without masks, were among the unlabelled "
    "images that this teacher learnt from."
)


def value(number: float | None, decimals: int = 2) -> str:
    """`0.61`, or that it is not yet measurable; never 0 for what is unknown."""
    return NOT_YET if number is None else f"{number:.{decimals}f}"


def change(now: float | None, before: float | None, decimals: int = 2) -> str:
    """`+0.04` with a real minus sign, or "" when either is unknown."""
    if now is None or before is None:
        return ""
    text = f"{abs(now - before):.{decimals}f}"
    if float(text) == 0:
        return "\N{PLUS-MINUS SIGN}" + text
    return ("+" if now > before else MINUS) + text


def share(number: float | None, decimals: int = 0) -> str:
    """`63 %`, or a dash."""
    return DASH if number is None else f"{100 * number:.{decimals}f} %"


def count(number: int, noun: str) -> str:
    """`1 label`, `28 labels`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def minutes(number: float | None) -> str:
    """`4.2 min`, `85 min`, `3.5 h`, or a dash."""
    if number is None:
        return DASH
    if number >= 120:
        return f"{number / 60:.1f} h"
    return f"{number:.1f} min" if number < 10 else f"{number:.0f} min"


def miou(evaluation: dict[str, Any] | None, which: str, domain: str) -> float | None:
    """mIoU of "teacher" or "baseline" on a domain's val split; None = not yet measurable."""
    found: float | None = _val(evaluation, which, domain).get("miou")
    return found


def iou(evaluation: dict[str, Any] | None, which: str, domain: str, name: str) -> float | None:
    """IoU of a class as `miou`."""
    found: float | None = _val(evaluation, which, domain).get("iou", {}).get(name)
    return found


def num_images(evaluation: dict[str, Any] | None, domain: str) -> int:
    """Val images of a domain."""
    return int(_val(evaluation, "teacher", domain).get("num_images", 0))


def _val(evaluation: dict[str, Any] | None, which: str, domain: str) -> dict[str, Any]:
    found: dict[str, Any] = (evaluation or {}).get(which, {}).get(domain, {}).get("val", {})
    return found


def current(report: Report) -> RoundFacts | None:
    """The row of the round that the report is about."""
    here = (report.domain, report.round_index)
    found = [row for row in report.rounds if (row.domain, row.round_index) == here]
    return found[0] if found else None


def headline(report: Report) -> str:
    """`Round 2 of day: 28 labels, teacher 0.61 mIoU (+0.04), baseline 0.58`."""
    start = f"Round {report.round_index} of {report.domain}: "
    row = current(report)
    if row is None:
        return start + "nothing computed yet"
    if row.labelled == 0:
        asked = f"; people are asked for the first {len(report.query)}" if report.query else ""
        return f"{start}no labels yet{asked}"
    labels = count(row.labelled, "label")
    if row.miou_teacher is None and row.miou_baseline is None:
        return f"{start}{labels}, mIoU {NOT_YET}"
    before = miou(report.previous_evaluation, "teacher", report.domain)
    moved = change(row.miou_teacher, before)
    kind = "transductive teacher" if row.transductive else "teacher"
    teacher = f"{kind} {_with_unit(row.miou_teacher)}" + (f" ({moved})" if moved else "")
    return f"{start}{labels}, {teacher}, baseline {value(row.miou_baseline)}"


def _with_unit(number: float | None) -> str:
    return NOT_YET if number is None else f"{number:.2f} mIoU"


def findings(report: Report) -> list[str]:
    """A few sentences on what to notice, for someone who reads nothing else."""
    found = [
        _unsafe(report),
        *(f"Warning: {sentence}." for sentence in report.weights),
        _teacher_against_baseline(report),
        _contest(report),
        _transductive(report),
        _audit(report),
        _guard(report),
        _classes(report),
        *_forgetting(report),
        _people(report),
        *_stopping(report),
        _asked(report),
    ]
    return [sentence for sentence in found if sentence]


def _unsafe(report: Report) -> str:
    if not report.push_failure:
        return ""
    return (
        f"NOT PUSHED: {', '.join(report.not_pushed)} would be lost with this machine. The last try "
        f"said: {report.push_failure}"
    )


def _teacher_against_baseline(report: Report) -> str:
    row = current(report)
    if row is None or row.labelled == 0:
        return "No model is trained yet: the first labels decide what it can learn."
    if num_images(report.evaluation, report.domain) == 0:
        return (
            f"{report.domain} has no validation image yet, so its mIoU is {NOT_YET}; some of the "
            "random picks become validation images when they are annotated."
        )
    if row.miou_teacher is None or row.miou_baseline is None:
        return ""
    gap = row.miou_teacher - row.miou_baseline
    side = (
        f"{abs(gap):.2f} {'above' if gap > 0 else 'below'}" if abs(gap) >= 0.005 else "level with"
    )
    training = report.training.get("teacher") or {}
    is_probe = (training.get("contest") or {}).get("kept") == "probe"
    if is_probe or training.get("method") == "supervised":
        return f"The teacher, which learns from labels alone here, is {side} the baseline."
    return f"The teacher, which also learns from unlabelled images, is {side} the baseline."


def _contest(report: Report) -> str:
    found = (report.training.get("teacher") or {}).get("contest")
    if not found:
        return ""
    interval = found["gain_interval"]
    gain = "" if interval is None else f" (it gains {interval[0]:+.2f} to {interval[1]:+.2f})"
    return (
        f"Two models learnt from these labels: on {count(found['num_images'], 'val image')} "
        f"{found['name']} has {found['miou']:.2f} mIoU, a probe of the frozen encoder "
        f"{found['miou_probe']:.2f}{gain}. Kept is {found['kept']}."
    )


def _transductive(report: Report) -> str:
    row = current(report)
    if row is None or not row.transductive:
        return ""
    return (
        "The teacher is transductive: the val and test images themselves, without masks, were "
        "among its unlabelled images, so its mIoU says nothing about images it has never seen."
    )


def _audit(report: Report) -> str:
    found = report.audit
    if found is None or found.miou is None or found.low is None or found.high is None:
        return ""
    return (
        f"On {count(found.num_images, 'image')} drawn at random, the teachers of their rounds have "
        f"{_with_unit(found.miou)} ({found.low:.2f} to {found.high:.2f})."
    )


def _guard(report: Report) -> str:
    events = (report.training.get("teacher") or {}).get("guard") or []
    if not events:
        return ""
    steps = " and ".join(str(event["step"]) for event in events)
    return (
        f"The guard against collapse acted after step {steps}: the consistency weight ended at "
        f"{events[-1]['weight']:g}. Look at the training curves before trusting the pseudo-labels."
    )


def _classes(report: Report) -> str:
    now = {
        name: score
        for name in report.class_names
        if (score := iou(report.evaluation, "teacher", report.domain, name)) is not None
    }
    unseen = [name for name in report.class_names if name not in now]
    not_yet = f"{NOT_YET.capitalize()}, since no val image shows it: {', '.join(unseen)}."
    if len(now) < 2:
        return not_yet if now and unseen else ""
    weakest = min(now, key=lambda name: now[name])
    text = f"Weakest class: {weakest} ({now[weakest]:.2f})."
    not_yet = f" {not_yet}" if unseen else ""
    moves = {
        name: score - before
        for name, score in now.items()
        if (before := iou(report.previous_evaluation, "teacher", report.domain, name)) is not None
    }
    if not moves:
        return text + not_yet
    best, worst = max(moves, key=lambda k: moves[k]), min(moves, key=lambda k: moves[k])
    if moves[best] >= 0.005:
        text += f" Largest gain: {best} (+{moves[best]:.2f})."
    if moves[worst] <= -0.005:
        text += f" Largest loss: {worst} ({MINUS}{-moves[worst]:.2f})."
    return text + not_yet


def _forgetting(report: Report) -> list[str]:
    """Only what people should act on; the section says the rest."""
    judged = report.forgetting
    if judged is None or not judged.beyond:
        return []
    return [said for said in forgetting.describe(judged) if "fell by" in said or "refused" in said]


def _people(report: Report) -> str:
    accepted = sum(row.accepted for row in report.rounds)
    if not accepted:
        return ""
    corrected = sum(row.corrected for row in report.rounds)
    known = [row for row in report.rounds if row.minutes is not None and row.accepted]
    text = f"People gave {count(accepted, 'annotation')} so far, {corrected} of them corrections"
    if known:
        total = sum(row.minutes or 0.0 for row in known)
        each = total / sum(row.accepted for row in known)
        text += f", in {minutes(total)} ({minutes(each)} each)"
    return f"{text}.{_idle(report.idle)}"


def _idle(found: IdleTime | None) -> str:
    if found is None or not found.minutes:
        return ""
    without = f"{minutes(found.idle_minutes)} of {minutes(found.minutes)} ({share(found.share)})"
    return f" For {without} of this campaign nothing was open to annotate."


def _stopping(report: Report) -> list[str]:
    if report.stopping is None or not report.stopping.num_rounds:
        return []
    return [stopping.forecast_words(report.stopping), *stopping.verdict(report.stopping)]


def _asked(report: Report) -> str:
    if not report.query:
        return f"Nothing is asked for: {report.why_finished}."
    audit = sum(item.source == "audit" for item in report.query)
    text = f"This round asks for {count(len(report.query), 'image')}"
    expected = [item.minutes for item in report.query if item.minutes is not None]
    if expected:
        text += f", about {minutes(sum(expected))} of people's time"
    return text + (f", {audit} of them at random as a fair sample." if audit else ".")
