"""Shift reports of a workspace: made when a domain arrives, kept with it, set beside the truth."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.domains.incoming import incoming_folder, waiting
from flows.rounds.round_facts import audit_of
from flows.workspace.position import round_tag
from flows.workspace.workspace import Workspace
from pipeline import layout
from pipeline.errors import DataError, WorkspaceError
from pipeline.files import replacing, write_json
from pipeline.reading import read
from pipeline.records.manifest import Sample, read_manifest
from pipeline.runtime.torch_settings import settle_torch
from pipeline.shift.verdict import LABELLED

if TYPE_CHECKING:
    from flows.loop import Loop
    from pipeline.shift.comparison import ShiftReport
    from pipeline.shift.forward import Picture

SUFFIX = ".shift.json"


def report(root: Path, a: str, b: str, *, run_length: int | None = None) -> ShiftReport:
    """The shift report with the mIoU measured since.

    Of a domain that waits it is kept, to come into the workspace with the domain. DataError for
    domains that are not there.
    """
    settle_torch()
    from pipeline.shift.comparison import ShiftReport
    from pipeline.shift.of_workspace import Asked, shift

    workspace = Workspace(root)
    workspace.require()
    waits = (incoming_folder(workspace.root, b) / "samples.csv").exists()
    manifest = read_manifest(workspace.root / layout.MANIFEST)
    known = _known(manifest, a, b)
    target = _target(workspace.root, manifest, b, waits=waits)
    asked = Asked(
        a=a,
        b=b,
        known=_pictures(workspace.root, known),
        val=_pictures(workspace.root, [s for s in known if s.split == "val" and s.mask], True),
        target=target,
        run_length=run_length,
    )
    found = shift(workspace.root, workspace.params(), asked)
    if waits:
        write_json(_beside(workspace.root, b), found)
    return ShiftReport(found, {picture.sample_id: picture.image for picture in target})


def on_arrival(root: Path, name: str, say: Callable[[str], None]) -> None:
    """Make the shift report of a waiting domain; a failure is logged and stops nothing.

    Nothing where that was said already, or where no teacher is trained yet that could fall.
    """
    if not _has_teacher(root) or _beside(root, name).exists():
        return
    say(f"shift report: how unlike {name} is, before any label (Ctrl-C leaves it out)")
    try:
        found = report(root, _reference(root), name).found
    except (Exception, KeyboardInterrupt) as error:
        why = "left out" if isinstance(error, KeyboardInterrupt) else f"not made: {error}"
        say(
            f"shift report {why}. The domain {name} waits all the same; "
            f"`ssl-loop shift {LABELLED} {name}` makes the report later."
        )
        return
    for sentence in found["in_words"]:
        say(sentence)
    say(f"`ssl-loop shift {found['a']} {name} --html FILE` shows maps and images.")


def adopt(loop: Loop, name: str) -> list[Path]:
    """Move the report of a domain that was taken in to where git keeps it; the paths to commit.

    A report may be made while its domain is taken in: then a later call finds it.
    """
    waits, kept = _beside(loop.root, name), layout.shift_report(name)
    if waits.exists():
        with replacing(loop.root / kept) as unfinished:
            shutil.copyfile(waits, unfinished)
        waits.unlink()
    return [kept] if (loop.root / kept).exists() else []


def kept_report(loop: Loop, name: str) -> dict[str, Any] | None:
    """The report made when `name` arrived, with the mIoU measured since; None without a report."""
    path = loop.root / layout.shift_report(name)
    if not path.exists():
        return None
    from pipeline.shift.verdict import sentences

    found = read(path).json(dict[str, Any])
    found["truth"] = truth(loop, name)
    return found | {"in_words": sentences(found)}


def truth(loop: Loop, name: str) -> dict[str, float | None]:
    """The teacher's mIoU in `name` as soon as labels say it, by how it was measured.

    On val images by the domain's first round, which had no label of its pool; and on images drawn
    at random.
    """
    first, audit = round_tag(name, 0), audit_of(loop, name)
    val = None
    if first in loop.workspace.tags_merged():
        evaluation = loop.workspace.evaluation_at(first)
        val = evaluation["teacher"].get(name, {}).get("val", {}).get("miou")
    return {
        f"val images, by the teacher of {first}": val,
        "images drawn at random, each by the teacher of its round": audit.miou if audit else None,
    }


def images_of(loop: Loop, name: str) -> dict[str, Path]:
    """The image files of a domain that was taken in, by their ids."""
    return {s.sample_id: loop.root / s.image for s in loop.workspace.manifest() if s.domain == name}


def _known(manifest: Sequence[Sample], a: str, b: str) -> list[Sample]:
    if a == b:
        raise DataError(f"{a!r} twice: expected two domains")
    used = [sample for sample in manifest if not sample.left_out]
    if a == LABELLED:
        domains = {sample.domain for sample in used if sample.labelled and sample.domain != b}
        if not domains:
            raise DataError("no domain has labels yet; name one whose images are known instead")
        return [s for s in used if s.domain in domains and (s.labelled or s.split == "val")]
    known = [sample for sample in used if sample.domain == a]
    if not known:
        there = sorted({sample.domain for sample in manifest})
        raise DataError(f"domain {a!r}: not there; known: {', '.join([LABELLED, *there])}")
    return known


def _target(root: Path, manifest: Sequence[Sample], b: str, *, waits: bool) -> list[Picture]:
    samples = [sample for sample in manifest if sample.domain == b]
    folder = None
    if waits:
        folder = incoming_folder(root, b)
        samples = read_manifest(folder / "samples.csv")
    used = [sample for sample in samples if not sample.left_out]
    if not used:
        there = sorted({sample.domain for sample in manifest} | set(waiting(root)))
        raise DataError(f"domain {b!r}: no image there; known: {', '.join(there) or 'none'}")
    return _pictures(root, used, folder=folder)


def _pictures(
    root: Path, samples: Sequence[Sample], masks: bool = False, folder: Path | None = None
) -> list[Picture]:
    """Files of the samples; of a domain that waits they lie in `folder`/images."""
    settle_torch()
    from pipeline.shift.forward import Picture

    return [
        Picture(
            sample.sample_id,
            folder / "images" / Path(sample.image).name if folder else root / sample.image,
            root / sample.mask if masks else None,
        )
        for sample in samples
    ]


def _reference(root: Path) -> str:
    """The domain to compare a new one with: the labelled ones."""
    if any(sample.labelled for sample in read_manifest(root / layout.MANIFEST)):
        return LABELLED
    domain = Workspace(root).params().domain
    if domain is None:
        raise WorkspaceError(f"{root}: no domain yet to compare with")
    return domain


def _has_teacher(root: Path) -> bool:
    config = root / layout.TEACHER / "config.json"
    try:
        return bool(read(config).json(dict[str, Any])["trained"])
    except (DataError, KeyError):
        return False  # none, or one that is being trained anew this moment


def _beside(root: Path, name: str) -> Path:
    """The report's file beside the waiting folder, which a tick may take away at any time."""
    return root / layout.INCOMING / f"{name}{SUFFIX}"
