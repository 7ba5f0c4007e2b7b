"""What `ssl-loop lineage` prints for people."""

from __future__ import annotations

from flows.versions.lineage import Label, ModelLineage, SampleLineage


def in_words(found: ModelLineage | SampleLineage) -> str:
    """One line per annotation or model, then whether both witnesses agree."""
    lines = _of_models(found) if isinstance(found, ModelLineage) else _of_sample(found)
    if found.agree:
        lines.append("the ledger and git's history say the same")
    elif found.agree is None:
        lines.append("only one of the ledger and git's history can tell: not compared")
    else:
        lines.append("THE LEDGER AND GIT'S HISTORY DIFFER; shown is git's, what was trained on:")
        lines += [f"  {difference}" for difference in found.differences]
    return "\n".join(lines)


def _of_models(found: ModelLineage) -> list[str]:
    given = [label for label in found.labels if label.annotation_sha256 is None]
    answered = [label for label in found.labels if label.annotation_sha256 is not None]
    lines = [f"{model.tag} {model.kind}: {model.weights}" for model in found.models]
    samples = len({label.sample_id for label in found.labels})
    lines.append(
        f"learnt from {samples} images: {len(answered)} annotations, {len(given)} with ground truth"
    )
    if answered:
        lines.append("  annotation    mask          asked in  when              annotator, sample")
    lines += [_line(label) for label in answered]
    lines += [f"  ground truth  {one.mask_sha256[:12]}  {one.sample_id}" for one in given]
    return lines


def _line(label: Label) -> str:
    when = (label.when or "")[:16].replace("T", " ")
    return (
        f"  {(label.annotation_sha256 or '')[:12]}  {label.mask_sha256[:12]}  "
        f"{(label.asked_in or ''):8}  {when}  {label.annotator}, {label.sample_id}"
    )


def _of_sample(found: SampleLineage) -> list[str]:
    if not found.sightings:
        return [f"{found.sample_id}: no model saw it"]
    lines = [f"{found.sample_id}: {len(found.sightings)} sightings"]
    for one in found.sightings:
        mask = f"  mask {one.mask_sha256[:12]}" if one.mask_sha256 else ""
        lines.append(f"  {one.tag:12} {one.kind:8} {one.weights[:12]}  {one.role}{mask}")
    return lines
