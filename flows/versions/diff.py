"""`ssl-loop diff TAG TAG`: what changed between two states: images, masks, params, metrics, models.

Read from git and DVC's cache; nothing is checked out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from flows.workspace.dvc.dvc_cache import Cache, cache_of, outs_at
from flows.workspace.git.commands import Git
from flows.workspace.position import require_tag
from flows.workspace.workspace import Workspace
from pipeline import layout
from pipeline.data.formats.images import load_mask
from pipeline.records.manifest import Sample
from pipeline.types import IGNORE, MAX_CLASSES

MODELS = (layout.BASELINE, layout.TEACHER)
_SHOWN = 12
Change = tuple[Any, Any]  # before, after; None where there is none


@dataclass(frozen=True, kw_only=True)
class MaskChange:
    """One image's mask, before and after; pixels are None where DVC's cache lacks a file."""

    sample_id: str
    kind: str  # new | changed | gone
    split: str
    changed_pixels: int | None  # a new mask's are those that carry a class
    pixels: dict[str, Change] | None  # class -> pixels before and after, where they differ


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Everything that two states do not share."""

    before: str
    after: str
    images_new: tuple[str, ...]
    images_gone: tuple[str, ...]
    images_changed: tuple[str, ...]
    splits: dict[str, Change]  # sample -> split, where an image now judges instead of teaching
    masks: tuple[MaskChange, ...]
    pixels: dict[str, Change]  # class -> pixels over all masks that changed
    params: dict[str, Change]  # key -> value
    metrics: dict[str, Change]  # path in metrics/evaluation.json -> number
    models: dict[str, Change]  # folder -> DVC's hash


def diff(workspace: Workspace, before: str, after: str) -> Difference:
    """What `after` has that `before` has not, and the other way; WorkspaceError for no such tag."""
    known = workspace.git.run("tag").decode().split()
    tags = (require_tag(before, known), require_tag(after, known))
    old, new = (_samples(workspace, tag) for tag in tags)
    masks = _masks(workspace, tags, old, new)
    params = [_flat(workspace.file_at(tag, layout.PARAMS).yaml()) for tag in tags]
    metrics = [_numbers(workspace, tag) for tag in tags]
    models = [_models(workspace.git, tag) for tag in tags]
    both = [name for name in new if name in old]
    return Difference(
        before=before,
        after=after,
        images_new=tuple(name for name in new if name not in old),
        images_gone=tuple(name for name in old if name not in new),
        images_changed=tuple(n for n in both if old[n].image_sha256 != new[n].image_sha256),
        splits={
            name: (old[name].split, new[name].split)
            for name in both
            if old[name].split != new[name].split
        },
        masks=tuple(masks),
        pixels=_summed(masks),
        params=_changes(*params),
        metrics=_changes(*metrics),
        models=_changes(*models),
    )


def _samples(workspace: Workspace, tag: str) -> dict[str, Sample]:
    rows = workspace.manifest_at(tag)
    return {row.sample_id: row for row in rows}


def _masks(
    workspace: Workspace, tags: tuple[str, str], old: dict[str, Sample], new: dict[str, Sample]
) -> list[MaskChange]:
    names = [
        name
        for name in dict.fromkeys([*old, *new])
        if _mask_hash(old.get(name)) != _mask_hash(new.get(name))
    ]
    if not names:
        return []
    cache, classes = cache_of(workspace), workspace.params().classes
    files = [_mask_files(workspace.git, cache, tag) for tag in tags]
    return [
        _mask_change(name, (old.get(name), new.get(name)), (cache, files), classes)
        for name in names
    ]


def _mask_hash(sample: Sample | None) -> str:
    return sample.mask_sha256 if sample else ""


def _mask_files(git: Git, cache: Cache, tag: str) -> dict[str, str]:
    """`path -> MD5` of every mask of a tag, as far as the cache has the folders' listings."""
    found: dict[str, str] = {}
    for out in outs_at(git, tag):
        if out.path.startswith(f"{layout.DATA}/") and out.path.endswith("/masks"):
            found |= cache.files(out) or {}
    return found


def _mask_change(
    name: str,
    samples: tuple[Sample | None, Sample | None],
    stored: tuple[Cache, list[dict[str, str]]],
    classes: tuple[str, ...],
) -> MaskChange:
    hashes = [_mask_hash(sample) for sample in samples]
    kind = "new" if not hashes[0] else "gone" if not hashes[1] else "changed"
    newest = samples[1] or samples[0]
    cache, files = stored
    arrays, complete = [], True
    for sample, paths in zip(samples, files, strict=True):
        place = cache.object(paths[sample.mask]) if sample and sample.mask in paths else None
        here = place is not None and place.exists()
        complete &= here or not _mask_hash(sample)
        arrays.append(load_mask(place, MAX_CLASSES) if place is not None and here else None)
    counts = [_count(array, classes) for array in arrays]
    return MaskChange(
        sample_id=name,
        kind=kind,
        split=newest.split if newest else "",
        changed_pixels=_unlike(*arrays) if complete else None,
        pixels=_changes(*counts) if complete else None,
    )


def _count(mask_HW: Any, classes: tuple[str, ...]) -> dict[str, int]:
    """Pixels per class; "ignore" counts those without one."""
    if mask_HW is None:
        return {}
    names = dict(enumerate(classes)) | {IGNORE: "ignore"}
    values, counts = np.unique(mask_HW, return_counts=True)
    return {
        names.get(int(value), f"class {value}"): int(count)
        for value, count in zip(values, counts, strict=True)
    }


def _unlike(before_HW: Any, after_HW: Any) -> int:
    """Pixels that differ; against no mask, those that carry a class."""
    if before_HW is None or after_HW is None:
        one_HW = after_HW if before_HW is None else before_HW
        return int((one_HW != IGNORE).sum())
    if before_HW.shape != after_HW.shape:
        return int(after_HW.size)
    return int((before_HW != after_HW).sum())


def _summed(masks: list[MaskChange]) -> dict[str, Change]:
    totals: dict[str, list[int]] = {}
    for change in masks:
        for name, pair in (change.pixels or {}).items():
            total = totals.setdefault(name, [0, 0])
            for place, value in enumerate(pair):
                total[place] += value or 0
    return {name: (before, after) for name, (before, after) in totals.items()}


def _numbers(workspace: Workspace, tag: str) -> dict[str, Any]:
    """Every number and flag of metrics/evaluation.json; empty before the first round."""
    if not workspace.exists_at(tag, layout.EVALUATION):
        return {}
    return _flat(workspace.evaluation_at(tag))


def _models(git: Git, tag: str) -> dict[str, str]:
    folders = {folder.as_posix() for folder in MODELS}
    return {out.path: out.md5 for out in outs_at(git, tag) if out.path in folders}


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """`{"a": {"b": 1}}` as `{"a.b": 1}`; lists and empty blocks stay whole."""
    if not isinstance(value, dict) or not value:
        return {prefix: value}
    found: dict[str, Any] = {}
    for key, inner in value.items():
        found |= _flat(inner, f"{prefix}.{key}" if prefix else str(key))
    return found


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Change]:
    return {
        key: (before.get(key), after.get(key))
        for key in dict.fromkeys([*before, *after])
        if before.get(key) != after.get(key)
    }


def in_words(found: Difference) -> str:
    """For the terminal."""
    lines = [f"{found.before} -> {found.after}"]
    for title, names in (
        ("images new", found.images_new),
        ("images gone", found.images_gone),
        ("images changed", found.images_changed),
    ):
        if names:
            lines.append(f"{title}: {len(names)} ({_listed(names)})")
    lines += [f"split of {name}: {old} -> {new}" for name, (old, new) in found.splits.items()]
    lines += _masks_in_words(found)
    main = {key: pair for key, pair in found.metrics.items() if ".iou." not in key}
    for title, changes in (("params", found.params), ("metrics", main), ("models", found.models)):
        lines += [f"{title}: {key}: {_arrow(pair)}" for key, pair in changes.items()]
    if len(found.metrics) > len(main):
        lines.append(f"metrics: and {len(found.metrics) - len(main)} of single classes (--json)")
    return "\n".join(lines if len(lines) > 1 else [*lines, "nothing changed"])


def _masks_in_words(found: Difference) -> list[str]:
    lines = []
    for kind in ("new", "changed", "gone"):
        of_kind = [change for change in found.masks if change.kind == kind]
        known = [change.changed_pixels for change in of_kind if change.changed_pixels is not None]
        if of_kind:
            names = _listed([change.sample_id for change in of_kind])
            unknown = len(of_kind) - len(known)
            note = f", {unknown} not in DVC's cache: `dvc fetch --all-tags`" if unknown else ""
            lines.append(f"masks {kind}: {len(of_kind)} ({names}), {sum(known)} pixels{note}")
    return lines + [f"  {name}: {_arrow(pair)} pixels" for name, pair in found.pixels.items()]


def _listed(names: Any) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _arrow(pair: Change) -> str:
    return " -> ".join(
        "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
        for value in pair
    )
