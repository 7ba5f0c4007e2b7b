"""What a hub may and may not do to the weights that an encoder begins from."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from pipeline.config.params import ModelParams
from pipeline.errors import ModelError
from pipeline.files import sha256_file
from pipeline.models import settled, weights
from pipeline.models.weights import (
    chosen_weights,
    fetch_weights,
    hub_place,
)
from pipeline.runtime.weights_folder import (
    require_stored,
    stored_weights,
)
from tests.support.encoder_files import ENCODER, left_in, state_of, timm_file

pytestmark = pytest.mark.usefixtures("folder")
COMMIT = "c" * 40


class Hub:
    """A hub of this machine, as far as its client asks: files by repository, commit and name."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files, self.announced, self.asked = files, dict[str, str](), list[str]()
        hub = self

        class Answer(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.do_GET()

            def do_GET(self) -> None:
                hub.asked.append(f"{self.command} {self.path}")
                name = self.path.rpartition("/")[2]
                raw = hub.files.get(name)
                self.send_response(404 if raw is None else 200)
                if raw is None:
                    self.send_header("X-Error-Code", "EntryNotFound")
                raw = raw or b""
                sha256 = hub.announced.get(name, hashlib.sha256(raw).hexdigest())
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("ETag", f'"{sha256}"')
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(raw)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


def turn_to(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    address = f"http://127.0.0.1:{port}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    own = Hub({"model.safetensors": timm_file(tmp_path / "hub.safetensors").read_bytes()})
    turn_to(monkeypatch, own.server.server_port)
    yield own
    own.server.shutdown()
    own.server.server_close()


def test_auto_fetches_what_the_machine_lacks_and_says_whence(hub: Hub, folder: Path) -> None:
    raw = hub.files["model.safetensors"]
    params = settled(ModelParams(encoder=ENCODER, encoder_weights="auto"))
    assert params.encoder_weights == f"auto:{hashlib.sha256(raw).hexdigest()}"
    (kept,) = stored_weights(ENCODER)
    place = "timm/test_efficientnet.r160_in1k"
    assert (kept.source, kept.origin) == ("hub", f"{place}@{COMMIT}/model.safetensors")
    assert f"GET /{place}/resolve/{COMMIT}/model.safetensors" in hub.asked
    assert len(left_in(folder)) == 2
    count = len(hub.asked)
    assert settled(ModelParams(encoder=ENCODER, encoder_weights="auto")) == params
    assert len(hub.asked) == count


def test_a_revision_is_asked_for(hub: Hub) -> None:
    fetch_weights(ENCODER, revision="d" * 40)
    assert any(
        f"HEAD /timm/test_efficientnet.r160_in1k/resolve/{'d' * 40}/" in a for a in hub.asked
    )


def test_another_hash_than_announced_is_refused(hub: Hub, folder: Path) -> None:
    hub.announced["model.safetensors"] = "a" * 64
    with pytest.raises(ModelError, match=f"the hub announced {'a' * 64}; fetch it again"):
        fetch_weights(ENCODER)
    assert not left_in(folder)


def test_a_hub_of_torch_files_alone_is_read_as_tensors(hub: Hub, tmp_path: Path) -> None:
    del hub.files["model.safetensors"]
    torch.save(state_of(7), tmp_path / "w.bin")
    hub.files["pytorch_model.bin"] = (tmp_path / "w.bin").read_bytes()
    kept = fetch_weights(ENCODER)
    assert kept.origin.endswith("pytorch_model.bin")
    found = load_file(require_stored(ENCODER, kept.sha256))
    assert torch.equal(found["conv_stem.weight"], state_of(7)["conv_stem.weight"])


def test_a_file_of_an_older_form_is_kept_as_timm_reads_it(hub: Hub, tmp_path: Path) -> None:
    """Of ViTs whose patches went through a linear layer."""
    state = timm.create_model("test_vit").state_dict()
    flat = state["patch_embed.proj.weight"].flatten(1).contiguous()
    save_file({**state, "patch_embed.proj.weight": flat}, tmp_path / "old.safetensors")
    hub.files["model.safetensors"] = (tmp_path / "old.safetensors").read_bytes()
    kept = fetch_weights("tu-test_vit")
    assert kept.origin_sha256 == sha256_file(tmp_path / "old.safetensors") != kept.sha256
    found = load_file(require_stored("tu-test_vit", kept.sha256))
    for name in ("patch_embed.proj.weight", "blocks.0.attn.qkv.weight"):
        assert torch.equal(found[name], state[name])


def test_a_hub_without_the_file_is_one_line(hub: Hub, folder: Path) -> None:
    hub.files.clear()
    with pytest.raises(ModelError, match=r"no weights from the hub .*check the network") as error:
        fetch_weights(ENCODER)
    assert "\n" not in str(error.value)
    assert not left_in(folder)


def test_a_hub_that_never_answers_is_given_up(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    silent = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)  # accepts, never serves
    turn_to(monkeypatch, silent.server_port)
    monkeypatch.setattr(weights, "HUB_WAIT_S", 0.2)
    begun = time.monotonic()
    assert chosen_weights(ENCODER) == "auto:random"
    assert time.monotonic() - begun < 5
    assert not left_in(folder)
    silent.server_close()


def test_places_are_timms_and_smps_own() -> None:
    assert hub_place("tu-mobilenetv2_100").repository == "timm/mobilenetv2_100.ra_in1k"
    smp = hub_place("resnet18")
    assert smp.repository == "smp-hub/resnet18.imagenet"
    assert smp.revision is not None
    for unknown in ("nothing", "tu-nothing", "tu-gcvit_tiny"):
        with pytest.raises(ModelError, match="the hub keeps no weights under this name"):
            hub_place(unknown)


def test_a_revision_in_timms_own_name_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    config = SimpleNamespace(hf_hub_id="a/b@v2", hf_hub_filename="x.safetensors")
    monkeypatch.setattr(timm, "get_pretrained_cfg", lambda name: config)
    place = hub_place(ENCODER)
    assert (place.repository, place.revision) == ("a/b", "v2")
    assert place.names == ("x.safetensors",)
