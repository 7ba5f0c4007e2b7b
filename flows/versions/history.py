"""`ssl-loop history`: the line of shifts and rounds, with what each brought."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flows.loop import Loop
from flows.rounds.round_facts import round_facts
from flows.workspace.position import final_tags, ingest_numbers, ingest_tag, labels_tag
from pipeline.report.data import RoundFacts


@dataclass(frozen=True, kw_only=True)
class RoundLine:
    """One computed round; mIoU on val, per domain known by then."""

    tag: str
    round_index: int
    commit: str
    when: str  # of the tag, as git says it: ISO 8601
    labelled: int  # images that its models learnt from, all domains
    miou_baseline: dict[str, float | None]
    miou_teacher: dict[str, float | None]
    accepted: int
    skipped: int
    minutes: float | None  # of people's time; None before the first answer
    merged: bool  # its answers are tagged `<domain>/r<k>-labels`


@dataclass(frozen=True, kw_only=True)
class DomainHistory:
    """One domain from its arrival on."""

    domain: str
    tag: str
    when: str
    images: int
    """With those that joined it since."""
    rounds: tuple[RoundLine, ...]
    final: str | None  # the tag of the campaign's last end; None before the first
    goes_on: bool  # rounds came after that end: the campaign was opened again


def history(loop: Loop) -> list[DomainHistory]:
    """Shifts in order of arrival, from the tags reachable from HEAD."""
    when = _dates(loop)
    rounds = [row for row in round_facts(loop) if row.tag in when]
    return [
        _shift(loop, domain, [row for row in rounds if row.domain == domain], when)
        for domain in loop.read_params().domains
        if ingest_tag(domain) in when
    ]


def _shift(
    loop: Loop, domain: str, rounds: Sequence[RoundFacts], when: dict[str, str]
) -> DomainHistory:
    tag = ingest_tag(domain)
    samples = loop.workspace.manifest_at(ingest_tag(domain, ingest_numbers(domain, when)[-1]))
    lines = tuple(_round(loop, row, when) for row in rounds)
    final = next(iter(final_tags(domain, when)[-1:]), None)
    return DomainHistory(
        domain=domain,
        tag=tag,
        when=when[tag],
        images=sum(sample.domain == domain for sample in samples),
        rounds=lines,
        final=final,
        goes_on=final is not None and loop.workspace.revision(final) != lines[-1].commit,
    )


def _round(loop: Loop, row: RoundFacts, when: dict[str, str]) -> RoundLine:
    evaluation = loop.workspace.evaluation_at(row.tag)
    return RoundLine(
        tag=row.tag,
        round_index=row.round_index,
        commit=loop.workspace.revision(row.tag),
        when=when[row.tag],
        labelled=row.labelled,
        miou_baseline=_miou(evaluation["baseline"]),
        miou_teacher=_miou(evaluation["teacher"]),
        accepted=row.accepted,
        skipped=row.skipped,
        minutes=row.minutes,
        merged=labels_tag(row.domain, row.round_index) in when,
    )


def in_words(shifts: Sequence[DomainHistory]) -> str:
    """For the terminal: one block per shift, one line per round."""
    if not shifts:
        return "no domain yet; `ssl-loop domain add NAME --images DIR` brings one"
    domains = [shift.domain for shift in shifts]
    head = ["tag", "labelled", "answers", "minutes", *(f"mIoU {name}" for name in domains)]
    rows = {line.tag: _cells(line, domains) for shift in shifts for line in shift.rounds}
    widths = [max(map(len, column)) for column in zip(head, *rows.values(), strict=True)]
    lines = []
    for shift in shifts:
        ends = f", campaign ended ({shift.final})" if shift.final else ""
        ends += ", and was opened again" if shift.goes_on else ""
        lines.append(f"{shift.domain}: {shift.images} images on {shift.when[:10]}{ends}")
        lines += [f"  {_line(cells, widths)}" for cells in (head, *_of(shift, rows))]
    lines.append("mIoU of the teacher on val; - = not yet measurable, or not there yet")
    return "\n".join(lines)


def _of(shift: DomainHistory, rows: dict[str, list[str]]) -> list[list[str]]:
    return [rows[line.tag] for line in shift.rounds]


def _cells(line: RoundLine, domains: Sequence[str]) -> list[str]:
    miou = [line.miou_teacher.get(name) for name in domains]
    return [
        line.tag,
        str(line.labelled),
        str(line.accepted + line.skipped) if line.merged or line.accepted else "-",
        "-" if line.minutes is None else f"{line.minutes:.1f}",
        *("-" if value is None else f"{value:.3f}" for value in miou),
    ]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first = cells[0].ljust(widths[0])
    return "  ".join(
        [first, *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True))]
    ).rstrip()


def _miou(by_domain: dict[str, dict[str, dict[str, float | None]]]) -> dict[str, float | None]:
    return {domain: splits.get("val", {}).get("miou") for domain, splits in by_domain.items()}


def _dates(loop: Loop) -> dict[str, str]:
    """`tag -> when it was made` of the tags reachable from HEAD."""
    listed = loop.workspace.git.run(
        "tag", "--merged", "HEAD", "--format=%(refname:short) %(creatordate:iso-strict)"
    )
    return dict(line.split(" ", 1) for line in listed.decode().splitlines())
