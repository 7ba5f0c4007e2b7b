"""Pretrained weights of encoders: into the weights folder, from there into params, by hash.

`settled` says what `auto` stands for. Nothing is kept that does not fit its encoder, nothing runs
that a file brings: torch files are read as tensors alone and kept as safetensors.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

import huggingface_hub
import timm
from huggingface_hub.errors import EntryNotFoundError
from safetensors.torch import save
from segmentation_models_pytorch.encoders import encoders as smp_encoders
from torch import Tensor

from pipeline.config.network import AUTO_RANDOM, Normalisation, chosen_sha256
from pipeline.config.params import EmbedParams, ModelParams
from pipeline.config.planned import AUTO
from pipeline.data.augment import NORMALISATIONS
from pipeline.errors import ConfigError, ModelError, SslLoopError
from pipeline.files import irregular, not_written, replacing, sha256_file, write_json
from pipeline.models.build import MODELS
from pipeline.models.encoders import (
    LONGEST,
    TIMM,
    EncoderChoice,
    load_encoder_weights,
    read_tensors,
    timm_network,
    whole_encoder,
)
from pipeline.runtime.progress import say
from pipeline.runtime.weights_folder import (
    SUFFIX,
    StoredWeights,
    read_record,
    record_path,
    stored_path,
    stored_weights,
    weights_folder,
    weights_warning,
)

HUB_WAIT_S = 5.0  # until a hub that says nothing counts as absent; a round must not hang on it
UNFINISHED, LEFT_AFTER_S = ".unfinished-", 24 * 3600.0  # no download takes a day
TORCH_SUFFIXES = (".pth", ".pt", ".bin")
_SAME = 1e-3  # between means or deviations: hubs round them

NetworkParams = TypeVar("NetworkParams", ModelParams, EmbedParams)


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Whence a weights file comes."""

    source: Literal["file", "hub"]
    origin: str
    origin_sha256: str
    normalisation: Literal["imagenet", "symmetric"] | None = None
    encoder_options: dict[str, bool | int | float | str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class HubPlace:
    """Where the hub keeps an encoder's weights; the first of `names` that is there."""

    repository: str
    revision: str | None
    names: tuple[str, ...]


def settled(params: NetworkParams) -> NetworkParams:
    """The same with every `auto` replaced: by what an encoder begins from, and what it expects.

    `auto` weights become `auto:<sha256>` of the newest of the weights folder, else of the hub, else
    `auto:random` with a line on stderr. What those weights were added with (normalisation,
    encoder_options) stands where params leave it open. ModelError for `auto` where no weights can
    be known.
    """
    weights, normalisation = params.encoder_weights, params.normalisation
    own = isinstance(params, ModelParams) and _has_its_own(params.name)
    if own and (weights in (AUTO, AUTO_RANDOM) or chosen_sha256(weights)):
        raise ModelError(
            f"model.encoder_weights: auto: {_name(params)} has an encoder of its own, for which no "
            "weights are kept by name; give a local file or null"
        )
    if weights == AUTO:
        weights = chosen_weights(params.encoder)
    options, known = params.encoder_options, _stored(params.encoder, weights)
    if known is not None:
        options = {**known.encoder_options, **options}
    if normalisation == "auto":
        said = None if known is None else known.normalisation
        normalisation = "imagenet" if own else said or expected_normalisation(params.encoder)
    changed = {
        "encoder_weights": weights,
        "encoder_options": options,
        "normalisation": normalisation,
    }
    return params.model_copy(update=changed)


def _stored(encoder: str, encoder_weights: str | None) -> StoredWeights | None:
    """The record of chosen weights; None where none are chosen, or they are gone."""
    sha256 = chosen_sha256(encoder_weights)
    path = None if sha256 is None else record_path(encoder, sha256)
    return read_record(path) if path is not None and path.is_file() else None


def _name(params: ModelParams | EmbedParams) -> str:
    return params.name if isinstance(params, ModelParams) else params.encoder


def _has_its_own(name: str) -> bool:
    return name in MODELS and MODELS[name].encoder is None


def chosen_weights(encoder: str) -> str:
    """`auto:<sha256>` of the newest in the weights folder, else of the hub; else `auto:random`."""
    stored = stored_weights(encoder)
    found = stored[0] if stored else _fetched(encoder)
    return AUTO_RANDOM if found is None else f"{AUTO}:{found.sha256}"


@cache
def _fetched(encoder: str) -> StoredWeights | None:
    """From the hub; asked once in a process, which says once that it has none."""
    try:
        return fetch_weights(encoder)
    except ModelError as error:
        say(str(error))
        say(f"WARNING: {weights_warning(encoder, AUTO_RANDOM)}")
        return None


def expected_normalisation(encoder: str) -> Normalisation:
    """What the pretrained weights of this name were trained on; ConfigError where it is neither.

    timm's configuration says it, so only `tu-*` names are known.
    """
    remedy = "give normalisation: imagenet or symmetric"
    config = timm.get_pretrained_cfg(encoder.removeprefix(TIMM))
    if not encoder.startswith(TIMM) or config is None or not config.has_weights:
        raise ConfigError(
            f"normalisation: auto: what encoder {encoder!r} expects is not known; {remedy}"
        )
    for name, values in NORMALISATIONS.items():
        given = (config.mean, config.std)
        if all(_close(ours, theirs) for ours, theirs in zip(values, given, strict=True)):
            return "imagenet" if name == "imagenet" else "symmetric"
    raise ConfigError(
        f"normalisation: auto: encoder {encoder!r} expects mean {config.mean} and deviation "
        f"{config.std}, which is neither imagenet nor symmetric; take another encoder, or {remedy} "
        "and train all of it"
    )


def _close(ours: tuple[float, ...], theirs: tuple[float, ...]) -> bool:
    return all(abs(one - other) < _SAME for one, other in zip(ours, theirs, strict=True))


def add_weights(
    file: Path,
    encoder: str,
    *,
    normalisation: Literal["imagenet", "symmetric"] | None = None,
    encoder_options: Mapping[str, bool | int | float | str] | None = None,
) -> StoredWeights:
    """Keep a safetensors or torch file as weights of `encoder`, which `auto` takes from then on.

    `normalisation` and `encoder_options`: what they were trained with, where it is another than the
    encoder's name says; whoever begins from them gets both.
    ModelError, and nothing is kept, for a file that is none or does not fit; WorkspaceError where
    the folder cannot be written.
    """
    try:
        kind = irregular(file)
    except OSError as error:
        raise ModelError(f"{file}: {error.strerror}; name a {_forms()} file") from error
    if kind or file.suffix not in (SUFFIX, *TORCH_SUFFIXES):
        raise ModelError(f"{file}: {kind or 'an unknown form'}, expected a {_forms()} file")
    origin = Provenance(
        source="file",
        origin=str(file.resolve()),
        origin_sha256=sha256_file(file),
        normalisation=normalisation,
        encoder_options=dict(encoder_options or {}),
    )
    return _add(file, encoder, origin)


def _forms() -> str:
    return f"{SUFFIX} or {', '.join(TORCH_SUFFIXES)}"


def _add(file: Path, encoder: str, origin: Provenance) -> StoredWeights:
    _require_fit(file, encoder, origin.encoder_options)
    if file.suffix == SUFFIX:
        return _keep(file, encoder, origin)
    with _as_safetensors(read_tensors(file)) as converted:
        return _keep(converted, encoder, origin)


def _require_fit(file: Path, encoder: str, options: Mapping[str, Any]) -> None:
    """ModelError unless every tensor of the encoder is in the file, in its shape."""
    choice = EncoderChoice(name=encoder, options=options)
    load_encoder_weights(whole_encoder(choice), file, choice)


@contextmanager
def _as_safetensors(tensors: dict[str, Tensor]) -> Iterator[Path]:
    """A file of them, in the weights folder for as long as it is needed."""
    raw = save({name: value.clone().contiguous() for name, value in tensors.items()})
    with _beside() as folder:
        path = folder / f"converted{SUFFIX}"
        with replacing(path, len(raw)) as unfinished:
            unfinished.write_bytes(raw)
        yield path


@contextmanager
def _beside() -> Iterator[Path]:
    """An empty folder on the disk of the weights folder, gone at the end."""
    folder = weights_folder()
    for left in folder.glob(f"{UNFINISHED}*"):  # by a process that was killed
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > LEFT_AFTER_S:
                shutil.rmtree(left, ignore_errors=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        own = tempfile.TemporaryDirectory(dir=folder, prefix=UNFINISHED)
    except OSError as error:
        raise not_written(folder, error) from error
    with own as name:
        yield Path(name)


def _keep(file: Path, encoder: str, origin: Provenance) -> StoredWeights:
    """Copy a file that fits; its record comes last."""
    sha256 = sha256_file(file)
    path = stored_path(encoder, sha256)
    _require_same(encoder, sha256, origin)
    size = file.stat().st_size
    with replacing(path, size) as unfinished:
        shutil.copyfile(file, unfinished)
        if sha256_file(unfinished) != sha256:
            raise ModelError(f"{file}: changed while it was copied; add it again")
    kept = StoredWeights(
        encoder=encoder,
        sha256=sha256,
        size_bytes=size,
        added=datetime.now(UTC).isoformat(timespec="microseconds"),
        **asdict(origin),
    )
    write_json(record_path(encoder, sha256), asdict(kept))
    return kept


def _require_same(encoder: str, sha256: str, origin: Provenance) -> None:
    """ModelError where these weights are kept with another word on what they expect: rounds that
    began from them would be computed otherwise, and nobody would see it."""
    known = _stored(encoder, f"{AUTO}:{sha256}")
    if known is None:
        return
    before = (known.normalisation, known.encoder_options)
    if before != (origin.normalisation, origin.encoder_options):
        raise ModelError(
            f"{stored_path(encoder, sha256)}: kept already, with normalisation {before[0]} and "
            f"encoder_options {before[1]}; remove it first if that was wrong, and start rounds "
            "that began from it again"
        )


def fetch_weights(encoder: str, revision: str | None = None) -> StoredWeights:
    """Keep what the hub has under the encoder's name, at `revision` or as it is today.

    The hub says the file's SHA-256 before it is read, and another one is refused. ModelError, after
    seconds, where there is no hub.
    """
    place = hub_place(encoder)
    try:
        with _beside() as folder:
            file, origin = _download(place, revision or place.revision, folder)
            return _add_from_hub(file, encoder, origin)
    except SslLoopError:
        raise
    except Exception as error:  # the hub's client raises whatever it runs into
        said = " ".join(str(error).split())[:LONGEST]
        raise ModelError(
            f"encoder {encoder!r}: no weights from the hub ({place.repository}): {said}; check the "
            f"network, or `ssl-loop weights add FILE --encoder {encoder}`"
        ) from error


def hub_place(encoder: str) -> HubPlace:
    """By timm's configuration or segmentation_models_pytorch's table; ModelError for no place."""
    if not encoder.startswith(TIMM) and encoder in smp_encoders:
        given = smp_encoders[encoder]["pretrained_settings"].get("imagenet")
        if given is not None:
            return HubPlace(
                repository=given["repo_id"],
                revision=given["revision"],
                names=("model.safetensors",),
            )
    config = timm.get_pretrained_cfg(encoder.removeprefix(TIMM))
    if not encoder.startswith(TIMM) or config is None or not config.hf_hub_id:
        raise ModelError(
            f"encoder {encoder!r}: the hub keeps no weights under this name; "
            f"`ssl-loop weights add FILE --encoder {encoder}` takes a file"
        )
    repository, _, revision = config.hf_hub_id.partition("@")
    named = (config.hf_hub_filename,) if config.hf_hub_filename else ()
    names = named or ("model.safetensors", "pytorch_model.bin")
    return HubPlace(repository=repository, revision=revision or None, names=names)


def _download(place: HubPlace, revision: str | None, folder: Path) -> tuple[Path, Provenance]:
    """The file in `folder` with the hash that the hub announced; progress is the library's."""
    for name in place.names:
        url = huggingface_hub.hf_hub_url(place.repository, name, revision=revision)
        try:
            told = huggingface_hub.get_hf_file_metadata(url, timeout=HUB_WAIT_S)
            break
        except EntryNotFoundError:
            if name == place.names[-1]:
                raise
    file = Path(
        huggingface_hub.hf_hub_download(
            place.repository,
            name,
            revision=told.commit_hash or revision,
            local_dir=folder,
            etag_timeout=HUB_WAIT_S,
        )
    )
    sha256 = sha256_file(file)
    origin = f"{place.repository}@{told.commit_hash or revision}/{name}"
    if told.etag is None or told.etag != sha256:
        raise ModelError(
            f"{origin}: SHA-256 {sha256}, the hub announced {told.etag}; fetch it again"
        )
    return file, Provenance(source="hub", origin=origin, origin_sha256=sha256)


def _add_from_hub(file: Path, encoder: str, origin: Provenance) -> StoredWeights:
    """As it is where it fits; else under the names that timm gives old files' tensors."""
    try:
        return _add(file, encoder, origin)
    except ModelError:
        if not encoder.startswith(TIMM):
            raise
    choice = EncoderChoice(name=encoder, options={}, hub=True)
    given = {"state_dict": read_tensors(file)}  # nothing is fetched then
    network = timm_network(choice, pretrained_cfg_overlay=given)
    with _as_safetensors(network.state_dict()) as converted:
        return _add(converted, encoder, origin)
