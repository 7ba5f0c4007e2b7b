"""The loop: steps, resumes, repeats itself bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline.training import TrainingJob, train
from pipeline.training.checkpoints import Checkpoints
from pipeline.training.trainer import learning_rate_share
from tests.support.trainings import equal, killed_after, new_job


def weights(job: TrainingJob, key: str = "train_teacher-0") -> dict[str, torch.Tensor]:
    return train(job, Checkpoints(job.root, key)).network.state_dict()


@pytest.mark.heavy
@pytest.mark.parametrize("method_name", ["supervised", "fixmatch", "cct", "st_plus_plus"])
def test_resumed_equals_uninterrupted(make_workspace, tiny_params, method_name: str) -> None:
    # DeepLabV3+ drops out: its masks, too, must be the same after resuming.
    blocks = {"model": {"name": "deeplabv3plus"}, "train": {"checkpoint_every_s": 0.0}}
    job = new_job(make_workspace(3, 4), tiny_params(**blocks), method_name)
    whole = weights(job)
    with killed_after(2):
        train(job, Checkpoints(job.root, "train_teacher-1"))
    resumed = train(job, Checkpoints(job.root, "train_teacher-1"))
    assert equal(whole, resumed.network.state_dict())
    assert len(resumed.history.columns()["loss"]) == 4


def test_a_phase_starts_with_a_fresh_optimiser(
    make_workspace, tiny_params, monkeypatch: pytest.MonkeyPatch
) -> None:
    num_updates = []

    def spy(_: Checkpoints, state) -> None:
        num_updates.append(int(state.optimizer["state"][0]["step"]))

    monkeypatch.setattr(Checkpoints, "save", spy)
    params = tiny_params(train={"steps": 6, "checkpoint_every_s": 0.0})
    weights(new_job(make_workspace(3, 4), params, "st_plus_plus"))
    assert num_updates == [1, 2, 1, 2, 1, 2]


def test_the_seed_alone_decides(make_workspace, tiny_params) -> None:
    root = make_workspace(3, 4)
    first = weights(new_job(root, tiny_params()))
    torch.rand(7)  # what was drawn outside does not matter
    assert equal(first, weights(new_job(root, tiny_params())))
    assert not equal(first, weights(new_job(root, tiny_params(train={"seed": 1}))))


def test_the_global_generator_is_given_back(make_workspace, tiny_params) -> None:
    before = torch.get_rng_state()
    weights(new_job(make_workspace(2, 2), tiny_params()))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.heavy
def test_it_learns(make_workspace, tiny_params) -> None:
    params = tiny_params(train={"steps": 40, "learning_rate": 3e-3, "encoder_learning_rate": 3e-3})
    trained = train(new_job(make_workspace(3, 4), params), Checkpoints(Path("x"), "a-0"))
    losses = trained.history.columns()["supervised"]
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


def test_frozen_statistics_and_a_rate_of_0_leave_the_encoder_alone(
    make_workspace, tiny_params
) -> None:
    root = make_workspace(3, 4)
    frozen = {"model": {"freeze_batch_norm": True}, "train": {"encoder_learning_rate": 0.0}}
    before = weights(new_job(root, tiny_params(**frozen, method={"ema_decay": 0.0})))
    longer = {**frozen, "train": {"encoder_learning_rate": 0.0, "steps": 2}}
    after = weights(new_job(root, tiny_params(**longer, method={"ema_decay": 0.0})))
    counted = [key for key in before if "num_batches_tracked" not in key]
    encoder = [key for key in counted if key.startswith("encoder.")]
    assert all(torch.equal(before[key], after[key]) for key in encoder)
    assert any(not torch.equal(before[key], after[key]) for key in counted)


def test_mixed_precision_trains(make_workspace, tiny_params) -> None:
    params = tiny_params(train={"precision": "bf16-mixed", "steps": 2})
    trained = train(new_job(make_workspace(2, 2), params), Checkpoints(Path("x"), "a-0"))
    assert len(trained.history.columns()["loss"]) == 2  # a loss that is no number would raise
    assert {p.dtype for p in trained.network.parameters()} == {torch.float32}


def test_the_rate_rises_then_falls_and_is_never_0() -> None:
    shares = [learning_rate_share(step, 100, warmup_share=0.1) for step in range(100)]
    assert shares[0] == pytest.approx(1 / 11)
    assert max(shares) == shares[10]
    assert shares[11:] == sorted(shares[11:], reverse=True)
    assert shares[55] == pytest.approx(0.45**0.9)
    assert min(shares) > 0


def test_the_baseline_takes_no_options_of_the_method_it_is_held_against(
    make_workspace, tiny_params
) -> None:
    root = make_workspace(3, 4)
    plain = weights(new_job(root, tiny_params(), "supervised"))
    params = tiny_params(method={"name": "cct", "options": {"vat": 2}})
    assert equal(weights(new_job(root, params, "supervised"), "train_baseline-0"), plain)
