"""A probe: its formula, its training on kept features, and what is kept of them."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch.nn.functional import cross_entropy

from pipeline import layout
from pipeline.config.params import ModelParams
from pipeline.data.dataset import ImageStore
from pipeline.data.formats.images import load_mask, save_mask
from pipeline.errors import ModelError
from pipeline.files import sha256_file
from pipeline.inference.logits import kept_features_of
from pipeline.inference.tiles import starts
from pipeline.metrics.iou import iou_per_class
from pipeline.models import build_model, load_model
from pipeline.models.probe import Head, Probe, fine_map, side_by_side
from pipeline.records.manifest import read_manifest, write_manifest
from pipeline.stages import evaluate, predict, train_baseline, train_teacher
from pipeline.training.probes import probe_training
from pipeline.training.probes.probe_components import principal_components
from pipeline.training.probes.probe_training import HeadTraining, train_head
from pipeline.types import IGNORE
from tests.support.whole_logits import logits_of

ENCODER = "tu-test_efficientnet"
PROBE = {
    "model": {"name": "probe", "encoder": ENCODER},
    "method": {"name": "supervised"},
    "image": {"height_px": 64, "width_px": 96, "scale": 1.0},
    "train": {"steps": 150, "learning_rate": 0.01},
}


def new_probe(seed: int = 0, **options: int) -> Probe:
    torch.manual_seed(seed)
    network = build_model(ModelParams(name="probe", encoder=ENCODER, options=dict(options)), 3)
    assert isinstance(network, Probe)
    return network.eval()


class Maps(torch.nn.Module):
    """An encoder whose maps are there already."""

    def __init__(self, features: list[torch.Tensor]) -> None:
        super().__init__()
        self.features = features

    def forward(self, images_BCHW: torch.Tensor) -> list[torch.Tensor]:
        return self.features


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("halves", [True, False])
def test_its_formula_cell_by_cell(halves: bool) -> None:
    network = new_probe(hidden=5, components=7, details=6)
    images_BCHW = torch.rand(1, 3, 64, 96)
    image, half, *maps = network.encode(images_BCHW)
    assert half.shape[-2:] == (32, 48)
    if not halves:  # as of a Vision Transformer
        network = Probe(Maps([image, *maps]), 3, {"components": 7, "details": 6, "hidden": 5})
    finer = half[0] if halves else image[0]
    times = finer.shape[-2] // 16
    decoder, head = network.decoder, network.head.layer
    hidden = decoder.hidden[0]
    decoder.mean_C.uniform_()
    resized = [
        torch.nn.functional.interpolate(each, (16, 24), mode="bilinear")[0].numpy() for each in maps
    ]
    features_Chw = np.concatenate(resized)
    logits_KHW = np.zeros((3, 32, 48), np.float32)
    for row in range(16):
        for column in range(24):
            inside = finer[:, row * times :, column * times :][:, :times, :times]
            x_C = np.concatenate([features_Chw[:, row, column], inside.reshape(-1).numpy()])
            z_D = decoder.projection_CD.numpy().T @ (x_C - decoder.mean_C.numpy())
            h_J = np.maximum(0, hidden.weight.detach().numpy() @ z_D + hidden.bias.detach().numpy())
            y_KS = head.weight.detach().numpy() @ h_J + head.bias.detach().numpy()
            logits_KHW[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2] = y_KS.reshape(
                3, 2, 2
            )
    whole = torch.nn.functional.interpolate(
        torch.from_numpy(logits_KHW)[None], (64, 96), mode="bilinear"
    )
    torch.testing.assert_close(network(images_BCHW).detach(), whole, atol=1e-4, rtol=1e-4)


def test_details_have_components_of_their_own() -> None:
    network = new_probe(components=7, details=6)
    features = network.encode(torch.rand(1, 3, 64, 64))
    widths = [side_by_side(features).shape[1], fine_map(features).shape[1]]
    assert network.decoder.projection_CD.shape == (sum(widths), 13)
    assert network.decoder.projection_CD[: widths[0], 7:].eq(0).all()
    assert network.decoder.projection_CD[widths[0] :, :7].eq(0).all()
    assert network.decoder.projection_CD.ne(0).sum() == 7 * widths[0] + 6 * widths[1]


def test_components_are_those_of_a_whitened_pca() -> None:
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=(2 * 4 * 6, 5)) * [9, 5, 3, 2, 1]).astype(np.float32)
    features_BChw = torch.from_numpy(rows).reshape(2, 4, 6, 5).movedim(-1, 1)
    mean_C, projection_CD = principal_components(iter(features_BChw.split(1)), 3)
    ours = (rows - mean_C.numpy()) @ projection_CD.numpy()
    theirs = PCA(3, whiten=True).fit_transform(rows)[:, ::-1]
    theirs *= np.sqrt(len(rows) / (len(rows) - 1))  # theirs divides by N - 1
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=1e-3)


def test_fewer_directions_than_components_leave_the_rest_at_zero() -> None:
    network = new_probe(components=7, details=6)
    features = network.encode(torch.rand(1, 3, 64, 64))
    widths = [side_by_side(features).shape[1], fine_map(features).shape[1]]
    found = [(torch.full((width,), 2.0), torch.ones(width, 2)) for width in widths]
    network.decoder.set_components(*found)
    assert network.decoder.mean_C.eq(2).all()
    wanted_CD = torch.zeros(sum(widths), 13)
    wanted_CD[: widths[0], :2] = 1
    wanted_CD[widths[0] :, 7:9] = 1
    assert network.decoder.projection_CD.equal(wanted_CD)


def test_a_head_learns_by_adamw_on_random_cells() -> None:
    """One step, written out: w - rate (g / (|g| + eps) + decay w)."""
    cells_MD, classes_M = torch.randn(40, 4), torch.randint(3, (40,)).byte()
    head = Head.of_size(4, 3, hidden=5)
    before = {name: value.detach().clone() for name, value in head.named_parameters()}
    torch.manual_seed(1)
    rows = torch.randint(40, (probe_training.BATCH_CELLS,))
    loss = cross_entropy(head(cells_MD[rows]), classes_M[rows].long())
    gradients = dict(zip(before, torch.autograd.grad(loss, head.parameters()), strict=True))
    torch.manual_seed(1)
    told: list[float] = []
    how = HeadTraining(steps=1, learning_rate=0.1, weight_decay=0.01)
    train_head(head, cells_MD, classes_M, how, lambda done, seen: told.append(float(seen)))
    assert told == pytest.approx([loss.item()], rel=1e-5)
    for name, value in head.named_parameters():
        g = gradients[name]
        expected = before[name] * (1 - 0.1 * 0.01) - 0.1 * g / (g.abs() + 1e-8)
        torch.testing.assert_close(value.detach(), expected, atol=1e-4, rtol=1e-4)


def test_a_rare_class_is_drawn_as_often_as_a_common_one() -> None:
    classes_MS = torch.zeros(1000, 4, dtype=torch.uint8)
    classes_MS[7, 2] = 5
    classes_MS[8:10] = IGNORE
    torch.manual_seed(0)
    draw = probe_training._Draw(classes_MS, 0.25, None)
    drawn = torch.cat([draw.rows() for _ in range(20)]).bincount(minlength=1000)
    number = 20 * probe_training.BATCH_CELLS
    assert drawn.sum() == number
    # Half of a quarter is of each class; the others are drawn as they come.
    assert drawn[7].item() == pytest.approx(number * (0.125 + 0.75 / 1000), rel=0.1)
    assert drawn[8:10].sum().item() == pytest.approx(number * 0.75 * 2 / 1000, rel=0.5)
    assert drawn[[0, 998, 999]].ne(0).all()


def test_each_part_of_a_cell_is_taught_its_own_class() -> None:
    """The loss is the mean over the parts that have one."""
    cells_MD, classes_MS = torch.randn(1, 4), torch.tensor([[2, 0, IGNORE, 1]]).byte()
    head = Head.of_size(4, 3 * 4, hidden=5)
    logits_KS = head(cells_MD)[0].detach().view(3, 4)
    terms = [
        logits_KS[:, part].logsumexp(0) - logits_KS[index, part]
        for part, index in ((0, 2), (1, 0), (3, 1))
    ]
    told: list[float] = []
    how = HeadTraining(steps=1, learning_rate=0.1, weight_decay=0.01, balanced=0.25)
    train_head(head, cells_MD, classes_MS, how, lambda done, seen: told.append(float(seen)))
    assert told == pytest.approx([torch.stack(terms).mean().item()], rel=1e-5)


@pytest.mark.parametrize("parts", [1, 2])
def test_a_parts_class_is_that_of_its_middle(parts: int) -> None:
    mask_HW = torch.arange(8 * 12).byte().view(8, 12)
    classes_hwS = probe_training.part_classes(mask_HW, parts)
    assert classes_hwS.shape == (2, 3, parts**2)
    side = 4 // parts
    for row, column, down, right in itertools.product(range(2), range(3), *[range(parts)] * 2):
        top, left = 4 * row + side * down, 4 * column + side * right
        middle = mask_HW[top + side // 2, left + side // 2]
        assert classes_hwS[row, column, down * parts + right] == middle


def test_without_details_a_cell_has_one_class() -> None:
    network = new_probe(components=7, details=0)
    features = network.encode(torch.rand(1, 3, 64, 64))
    assert network.decoder.projection_CD.shape == (side_by_side(features).shape[1], 7)
    assert network.head(network.represent(features)).shape == (1, 3, 16, 16)


def test_without_a_label_a_head_stays_as_it_was() -> None:
    head = Head.of_size(4, 3)
    before = [value.clone() for value in head.parameters()]
    how = HeadTraining(steps=3, learning_rate=0.1, weight_decay=0.01)
    train_head(head, torch.zeros(0, 4), torch.zeros(0).byte(), how)
    assert all(map(torch.equal, before, head.parameters()))


@pytest.mark.parametrize(
    "options", [{"hidden": 0}, {"details": -1}, {"components": "many"}, {"width": 3}]
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ModelError, match=r"probe: (unknown )?option"):
        build_model(ModelParams.model_construct(name="probe", encoder=ENCODER, options=options), 3)


def test_training_mode_leaves_the_encoders_statistics() -> None:
    network = new_probe().train()
    before = {name: value.clone() for name, value in network.encoder.state_dict().items()}
    network(torch.rand(2, 3, 64, 64)).sum().backward()
    after = network.encoder.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    learning = {name for name, p in network.named_parameters() if p.grad is not None}
    assert {name.rpartition(".")[0] for name in learning} == {"decoder.hidden.0", "head.layer"}


def test_a_workspace_gets_a_probe_that_learns(make_workspace, tiny_params, capsys) -> None:
    root = make_workspace(4, 3, val=3)
    params = tiny_params(**PROBE)
    train_baseline.run(root, params)
    assert "a probe of a random encoder learns little" in capsys.readouterr().err
    train_teacher.run(root, params)
    assert files_of(root / layout.BASELINE) == files_of(root / layout.TEACHER)
    metrics = json.loads((root / layout.TEACHER_TRAINING).read_text())
    assert metrics["loss"][-1] < 0.5 * metrics["loss"][0]
    assert [point["step"] for point in metrics["monitor"]] == list(range(15, 151, 15))
    assert metrics["monitor"][-1]["miou"] > 0.8
    predict.run(root, params)
    evaluate.run(root, params)
    facts = json.loads((root / layout.EVALUATION).read_text())
    assert facts["teacher"]["day"]["val"]["miou"] > 0.7
    assert facts["teacher"] == facts["baseline"]


def test_equal_trainings_give_equal_bytes_kept_features_or_not(make_workspace, tiny_params) -> None:
    roots = [make_workspace(3, 2, name=name) for name in ("kept", "again", "not_kept")]
    params = tiny_params(**PROBE)
    train_teacher.run(roots[0], params)
    train_teacher.run(roots[0], params)  # now with all features on disk
    train_teacher.run(roots[1], params)
    none_kept = params.with_knobs(train={"features_gib": 0.0})
    train_teacher.run(roots[2], none_kept)
    kept, again, not_kept = (files_of(root / layout.TEACHER) for root in roots)
    assert kept == again == not_kept
    assert list((roots[0] / layout.FEATURES).rglob("*.npy"))
    assert not list((roots[2] / layout.FEATURES).rglob("*.npy"))
    predictions = []
    for root, knobs in ((roots[0], params), (roots[2], none_kept)):
        predict.run(root, knobs)
        folder = root / layout.PSEUDO_LABELS / "day"
        predictions.append({each.name: load_mask(each, 255) for each in folder.glob("*.png")})
    assert predictions[0].keys() == predictions[1].keys()
    assert all(
        np.array_equal(predictions[0][name], predictions[1][name]) for name in predictions[0]
    )


def test_killed_in_the_training_its_features_are_there_and_the_result_the_same(
    make_workspace, tiny_params, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, other = make_workspace(3, 2, name="killed"), make_workspace(3, 2, name="whole")
    params = tiny_params(**PROBE)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(probe_training, "train_head", killed)
        with pytest.raises(KeyboardInterrupt):
            train_teacher.run(root, params)
    assert not (root / layout.TEACHER).exists()
    kept = {file: file.stat().st_mtime_ns for file in (root / layout.FEATURES).rglob("*.np?")}
    assert len(kept) == 4  # three images and the components
    train_teacher.run(root, params)
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    train_teacher.run(other, params)
    assert files_of(root / layout.TEACHER) == files_of(other / layout.TEACHER)


def test_only_labelled_pixels_teach(make_workspace, tiny_params) -> None:
    """One image, of which the square alone is labelled: everything becomes square."""
    root = make_workspace(1, 1)
    samples = read_manifest(root / layout.MANIFEST)
    mask = root / samples[0].mask
    mask_HW = load_mask(mask, 3).copy()
    mask_HW[mask_HW == 0] = 255
    save_mask(mask, mask_HW)
    changed = [
        type(samples[0])(**{**samples[0].__dict__, "mask_sha256": sha256_file(mask)}),
        *samples[1:],
    ]
    write_manifest(root / layout.MANIFEST, changed)
    params = tiny_params(**PROBE)
    train_teacher.run(root, params)
    predict.run(root, params)
    seen_HW = load_mask(root / layout.sample_png(layout.PSEUDO_LABELS, "day/01"), 3)
    assert set(np.unique(seen_HW)) == {1}


def test_large_images_are_learnt_from_in_tiles(make_workspace, tiny_params) -> None:
    root = make_workspace(4, 2, val=3)
    params = tiny_params(**{**PROBE, "image": {"height_px": 32, "width_px": 32, "scale": 1.0}})
    train_teacher.run(root, params)
    places = {
        tuple(map(int, file.stem.split("-")[1:]))
        for file in (root / layout.FEATURES).rglob("*.npy")
    }
    assert places == set(itertools.product(starts(60, 32), starts(70, 32)))
    assert len(places) > 4
    counts_KK = evaluate.teacher_confusions(root, params, "val")["day"]
    ground, square, _ = iou_per_class(counts_KK)
    assert ground is not None
    assert square is not None
    assert min(ground, square) > 0.6


def test_kept_features_say_what_the_network_says(make_workspace, tiny_params) -> None:
    root = make_workspace(3, 2)
    params = tiny_params(**PROBE)
    train_teacher.run(root, params)
    model = load_model(root / layout.TEACHER)
    assert model.network is not None
    samples = read_manifest(root / layout.MANIFEST)
    store = ImageStore(root, model.image, cache_mib=0)
    device = torch.device("cpu")
    kept = kept_features_of(model, root, params)
    for (_, by_kept), (_, by_network) in zip(
        logits_of(model, samples, store, device, kept),
        logits_of(model, samples, store, device),
        strict=True,
    ):
        torch.testing.assert_close(by_kept, by_network, atol=0.05, rtol=0.01)


def test_other_methods_train_a_probe_like_any_network(make_workspace, tiny_params) -> None:
    root = make_workspace(3, 4)
    params = tiny_params(**{**PROBE, "method": {"name": "mean_teacher"}, "train": {"steps": 3}})
    train_teacher.run(root, params)
    model = load_model(root / layout.TEACHER)
    assert isinstance(model.network, Probe)
    assert model.network.decoder.mean_C.abs().sum() > 0, "components were fitted"
    assert json.loads((root / layout.TEACHER_TRAINING).read_text())["unlabelled"] == 4


def test_the_components_are_the_same_whoever_is_labelled(make_workspace, tiny_params) -> None:
    root = make_workspace(3, 2)
    params = tiny_params(**PROBE)
    train_teacher.run(root, params)
    samples = read_manifest(root / layout.MANIFEST)
    first = sorted((root / layout.FEATURES).glob("components-*.npz"))
    one = samples[0]
    (root / one.mask).unlink()
    unlabelled = type(one)(**{**one.__dict__, "mask": "", "mask_sha256": "", "origin": ""})
    write_manifest(root / layout.MANIFEST, [unlabelled, *samples[1:]])
    train_teacher.run(root, params)
    assert sorted((root / layout.FEATURES).glob("components-*.npz")) == first
