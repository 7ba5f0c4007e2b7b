"""A slice ends in time, keeps what it has, and goes on; figures of a CPU are called so."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.camvid.day_and_dusk import CamVid
from benchmarks.gpu import __main__ as gpu_bench
from benchmarks.gpu import gpu_report
from benchmarks.gpu.gpu_report import report
from benchmarks.gpu.pieces import PIECES, camvid_params, official_rows
from pipeline.files import write_json

RATES = {
    "kind": "rates",
    "method": "supervised",
    "image": "128x224",
    "tile": "128x128",
    "batch": 4,
    "step_s": 0.5,
    "bare_step_s": 0.46,
    "image_s": 0.25,
    "bare_image_s": 0.2,
    "machine": "2 cores",
    "scale": "small",
}


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for module in (gpu_bench, gpu_report):
        monkeypatch.setattr(module, "KEPT", tmp_path / "gpu")
    monkeypatch.setattr(gpu_bench, "RESULTS", tmp_path)
    return tmp_path


@pytest.fixture
def camvid(tmp_path: Path) -> CamVid:
    (tmp_path / "classes.csv").write_text("index,name\n0,road\n1,sky\n")
    with (tmp_path / "splits.csv").open("w", newline="") as file:
        rows = [(f"{n:03d}", "train" if n < 60 else ("val", "test")[n % 2]) for n in range(70)]
        csv.writer(file).writerows([("id", "split"), *rows])
    return CamVid(data=tmp_path, weights=tmp_path / "weights.safetensors")


def part(*, data: Path | None = None, minutes: float = 1.0) -> gpu_bench.Slice:
    return gpu_bench.Slice(data=data, device="cpu", scale="small", minutes=minutes)


def test_what_is_kept_is_not_run_again(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []

    def run(command: list[str], *, check: bool, timeout: float) -> None:
        assert check
        assert 0 < timeout <= 60
        started.append(command[-1])
        if len(started) == 2:
            raise subprocess.TimeoutExpired(command, timeout)
        write_json(part().file(PIECES[0]), RATES)

    monkeypatch.setattr(subprocess, "run", run)
    gpu_bench._run_slice(part(), ["--small"])
    assert started == ["rates-supervised", "rates-mean_teacher"]
    assert [piece.name for piece in part().missing()] == ["rates-mean_teacher"]
    page = (kept / "gpu.md").read_text()
    assert "figures of a CPU at a small size" in page
    assert "| supervised | 128x224 | 128x128 | 4 | 2.000 | 92 | 4.000 | 80 |" in page


def test_without_camvid_only_rates_are_left(kept: Path) -> None:
    assert {piece.kind for piece in part().missing()} == {"rates"}
    names = [piece.name for piece in part(data=kept).missing()]
    assert names[2:] == [
        "camvid-all-supervised",
        "camvid-1-8-supervised",
        "camvid-1-8-mean_teacher",
        "camvid-1-30-supervised",
        "camvid-1-30-mean_teacher",
    ]


def test_a_gpus_page_does_not_speak_of_a_cpu(kept: Path) -> None:
    write_json(kept / "gpu/cuda-full-rates-supervised.json", {**RATES, "scale": "full"})
    assert "## GPU, full sizes" in report()
    assert "No GPU" not in report()


def test_labels_are_a_share_of_the_official_train_images(camvid: CamVid) -> None:
    for fraction, expected in (("all", 60), ("1/8", 8), ("1/30", 2)):
        splits = list(official_rows(camvid, fraction).values())
        assert splits.count("labelled") == expected
        assert splits.count("pool") == 60 - expected
        assert splits.count("test") == splits.count("val") == 5


def test_camvid_is_seen_whole_on_a_gpu(camvid: CamVid) -> None:
    params = camvid_params(camvid, "mean_teacher", "cuda", "full")
    assert params.image.seen_size((360, 480)) == (360, 480)
    assert params.image.crop_size == (384, 480)
    assert params.train.precision == "bf16-mixed"
    assert params.model.name == "deeplabv3plus"


@pytest.mark.programs
def test_neither_prefect_nor_dvc_nor_label_studio_is_imported() -> None:
    code = (
        "import sys, benchmarks.gpu.__main__;"
        "print([n for n in ('prefect', 'dvc', 'label_studio_sdk', 'flows') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True
    )
    assert done.stdout.strip() == "[]"
