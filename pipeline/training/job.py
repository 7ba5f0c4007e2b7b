"""A training stage from files to files."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

import pipeline
from pipeline import layout
from pipeline.config.network import AUTO_RANDOM, chosen_sha256
from pipeline.config.params import Params
from pipeline.errors import ModelError
from pipeline.files import sha256_file, write_json
from pipeline.models import LoadedModel, load_model, save_model, save_untrained, settled
from pipeline.models.checkpoint import CONFIG, copy_model
from pipeline.reading import REMADE, read
from pipeline.records.manifest import Sample, check_files, read_manifest
from pipeline.runtime.progress import say
from pipeline.runtime.weights_folder import read_record, record_path
from pipeline.training.checkpoints import Checkpoints, training_key
from pipeline.training.curves import thin
from pipeline.training.domain_adaptation.batch_norm import follow_in_batch_norm
from pipeline.training.domain_adaptation.enabled import Adaptation, adaptation_in_force, enabled
from pipeline.training.domain_adaptation.warm_start import (
    average_with,
    last_teacher,
    last_teacher_sha256,
)
from pipeline.training.monitor import named_points, spread
from pipeline.training.probes.contest import contender_of, contest, has_contender, judges
from pipeline.training.probes.probe_choice import PROBE
from pipeline.training.probes.probe_components import MOST_IMAGES
from pipeline.training.probes.probe_training import train_probe, trains_on_features
from pipeline.training.trainer import Trained, TrainingJob, train

TEACHER_STAGE = "train_teacher"
NO_LABELS = "no labelled image in any domain yet"


def train_stage(stage: str, root: Path, params: Params, *, method_name: str, model: Path) -> None:
    """Train `method_name` on all labelled images of all domains; write `model` and its curves.

    `model` is the folder relative to `root`. The unlabelled stream is every pool image without a
    mask, or with one of some regions only; with method.transductive val and test images join, their
    masks unread. Without any labelled image the folder is a marker: trained = false. `adapt` of the
    params is the teacher's alone: a baseline is what labels give without it.
    """
    metrics = root / layout.METRICS / f"{stage}.json"
    samples = read_manifest(root / layout.MANIFEST)
    if not any(sample.labelled for sample in samples):
        say(f"{stage}: {NO_LABELS}; nothing to train")
        save_untrained(root / model, why=NO_LABELS)
        write_json(metrics, {"trained": False, "why": NO_LABELS})
        return
    params = params.model_copy(update={"model": settled(params.model)})
    job = _job(stage, root, params, samples, method_name)
    read = [*job.labelled, *job.unlabelled, *job.monitored, *job.judged, *job.described]
    check_files(root, [*read, *job.adaptation.target])
    encoder_sha256 = _encoder_sha256(params)
    followed = _followed(job)
    identity = training_key("training", job.params, read, encoder_sha256, followed)
    config = _config(job, {**_facts(job), **followed}, encoder_sha256)
    if stage == TEACHER_STAGE and not job.keep_snapshots and _is_baselines(root, identity):
        say(f"{stage}: the training of the baseline, step by step; its result is taken")
        copy_model(root / layout.BASELINE, root / model)
        shutil.copyfile(root / layout.BASELINE_TRAINING, metrics)
        return
    key = training_key(stage, job.params, read, encoder_sha256, followed)
    checkpoints = Checkpoints(root, key)
    trained = train_probe(job) if trains_on_features(job) else train(job, checkpoints)
    if not trained.main:
        return
    if job.initial is not None and job.params.adapt.warm_start_share:
        average_with(trained.network, job.initial, job.params.adapt.warm_start_share)
    follow_in_batch_norm(job, trained.network)
    kept = LoadedModel(trained.network.eval(), config)
    facts = {**_facts(job), **followed, "training": identity}
    if has_contender(job):
        kept, facts["contest"] = _contested(job, kept, encoder_sha256)
    save_model(root / model, _network(kept), kept.config, trained.beside)
    write_json(metrics, {**facts, **_told(job, trained), "trained": True})
    checkpoints.remove()


def _contested(
    job: TrainingJob, network: LoadedModel, encoder_sha256: str | None
) -> tuple[LoadedModel, dict[str, Any]]:
    """The better of the network and a probe, and what their contest said."""
    other = contender_of(job)
    trained = train_probe(other)
    config = _config(other, _facts(other), encoder_sha256)
    probe = LoadedModel(trained.network, config)
    found = contest(job, network, probe)
    return (probe if found.kept == PROBE else network), found.facts()


def _network(model: LoadedModel) -> nn.Module:
    assert model.network is not None  # just trained
    return model.network


def _is_baselines(root: Path, identity: str) -> bool:
    """Whether the baseline that lies there is what this training would give, and can be read.

    So it is where the method is `supervised` and nothing is adapted to: one training is enough.
    """
    curves = root / layout.BASELINE_TRAINING
    if not (curves.exists() and (root / layout.BASELINE / CONFIG).exists()):
        return False
    same = read(curves, remedy=REMADE).json(dict[str, Any]).get("training") == identity
    return same and load_model(root / layout.BASELINE).trained


def _job(
    stage: str, root: Path, params: Params, samples: list[Sample], method_name: str
) -> TrainingJob:
    """What is to be trained, with what of `adapt` is in force if it is the teacher."""
    is_teacher = stage == TEACHER_STAGE
    unlabelled = () if method_name == "supervised" else _unlabelled(samples, params)
    if not unlabelled and method_name != "supervised":
        say(f"{stage}: no unlabelled image left; {method_name} learns from labels alone")
    adaptation = adaptation_in_force(params, samples) if is_teacher else Adaptation()
    warm = adaptation.domain and params.adapt.warm_start
    initial = last_teacher(root, params, stage) if warm else None
    return TrainingJob(
        root=root,
        stage=stage,
        params=enabled(params, adaptation, method_name=method_name, warm=initial is not None),
        labelled=tuple(sample for sample in samples if sample.labelled),
        unlabelled=unlabelled,
        monitored=_monitored(stage, samples, params),
        judged=judges(samples, params.domain) if params.model.contender != "none" else (),
        described=_described(samples, params),
        keep_snapshots=params.train.keep_snapshots and is_teacher,
        adaptation=adaptation,
        initial=initial,
    )


def _followed(job: TrainingJob) -> dict[str, Any]:
    """What of the shift decides the result, under `adapt`; nothing where nothing is in force."""
    if not job.adaptation.domain:
        return {}
    start = None if job.initial is None else last_teacher_sha256(job.root)
    return {"adapt": {**job.adaptation.facts(job.params.adapt), "start": start}}


def _unlabelled(samples: Sequence[Sample], params: Params) -> tuple[Sample, ...]:
    pool = [sample for sample in samples if sample.unlabelled]
    if not params.method.transductive:
        return tuple(pool)
    # Without its mask a sample cannot give it away, whatever looks at it.
    judged = [sample for sample in samples if sample.split != "pool"]
    return (*pool, *(replace(s, mask="", mask_sha256="", origin="") for s in judged))


def _monitored(stage: str, samples: Sequence[Sample], params: Params) -> tuple[Sample, ...]:
    if not params.train.monitor_share:
        return ()
    chosen = spread([sample for sample in samples if sample.split == "val" and sample.mask])
    if not chosen:
        say(f"{stage}: no validation image yet; the training is neither monitored nor guarded")
    return chosen


def _described(samples: Sequence[Sample], params: Params) -> tuple[Sample, ...]:
    """Of the pool alone, and labelled or not, so that they are the same until a domain is added."""
    if PROBE not in (params.model.name, params.model.contender):
        return ()
    return spread([sample for sample in samples if sample.split == "pool"], MOST_IMAGES)


def _facts(job: TrainingJob) -> dict[str, Any]:
    train_params = job.params.train
    return {
        "method": job.params.method.name,
        "steps": train_params.steps,
        "seed": train_params.seed,
        "transductive": any(sample.split != "pool" for sample in job.unlabelled),
    }


def _told(job: TrainingJob, trained: Trained) -> dict[str, Any]:
    """What the training told: counts, curves, looks at val images, what the guard did."""
    return {
        "labelled": len(job.labelled),
        "unlabelled": len(job.unlabelled),
        **{name: thin(values) for name, values in trained.history.columns().items()},
        "monitor": named_points(trained.monitor.points, job.params.classes),
        "guard": trained.guard.events,
    }


def _config(job: TrainingJob, facts: dict[str, Any], encoder_sha256: str | None) -> dict[str, Any]:
    knobs = job.params.model_dump(mode="json", include={"classes", "image", "model"})
    return {
        **facts,
        **knobs,
        "normalisation": job.params.model.normalisation,
        "labelled": _mask_hashes(job.labelled),
        "encoder_weights_sha256": encoder_sha256,
        **_chosen_start(job.params),
        "version": pipeline.__version__,
    }


def _mask_hashes(samples: Sequence[Sample]) -> dict[str, str]:
    return {sample.sample_id: sample.mask_sha256 for sample in samples}


def _chosen_start(params: Params) -> dict[str, Any]:
    """Under `auto`, whence the weights came that were chosen: random, a file, or the hub's place.

    Without a path of this machine: equal trainings give equal bytes.
    """
    model = params.model
    if model.encoder_weights == AUTO_RANDOM:
        return {"encoder_weights_source": "random"}
    if (sha256 := chosen_sha256(model.encoder_weights)) is None:
        return {}
    record = read_record(record_path(model.encoder, sha256))
    hub = {"encoder_weights_origin": record.origin} if record.source == "hub" else {}
    return {"encoder_weights_source": record.source, **hub}


def _encoder_sha256(params: Params) -> str | None:
    """Of the weights file; None for random initialisation and for weights by name."""
    name = params.model.encoder_weights
    if name in (None, "hub", AUTO_RANDOM):
        return None
    if (chosen := chosen_sha256(name)) is not None:
        return chosen
    if not Path(str(name)).is_file():
        raise ModelError(f"model.encoder_weights = {name!r}: no such file")
    return sha256_file(Path(str(name)))
