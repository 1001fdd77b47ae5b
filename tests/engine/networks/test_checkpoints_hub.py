"""Where a hub id's weights come from: the cache, FiftyOne's zoo, a (local) hub, or nowhere."""

import hashlib
import importlib.util
import json
import shutil
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from huggingface_hub import constants

from ntt_plugin.engine.networks.checkpoints import load_encoder, load_segmenter
from ntt_plugin.engine.networks.hub import ENCODERS, SEGMENTERS, find_in_zoo
from ntt_plugin.errors import CheckpointError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ID = "someone/small-dinov2"


class Hub(BaseHTTPRequestHandler):
    """As much of the hub's protocol as a download needs: a listing, and files with their hashes."""

    folder: Path
    asked: list[str]

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        if path.startswith(f"/api/models/{ID}"):
            files = [{"rfilename": p.name, "size": p.stat().st_size} for p in self.folder.iterdir()]
            body = json.dumps({"id": ID, "sha": COMMIT, "siblings": files}).encode()
        elif path.startswith(f"/{ID}/resolve/") and (self.folder / Path(path).name).is_file():
            body = (self.folder / Path(path).name).read_bytes()
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing in the tests' output."""


@pytest.fixture(autouse=True)
def empty_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No cache, no zoo, no network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def ask(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the hub's client ask a port of this machine in place of the hub."""
    endpoint = f"http://127.0.0.1:{port}"
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, dinov2_folder: Path) -> Iterator[type[Hub]]:
    handler = type("OneHub", (Hub,), {"folder": dinov2_folder, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    ask(server.server_port, monkeypatch)
    yield handler
    server.shutdown()
    server.server_close()


def test_a_download_says_its_size_and_gives_the_network(
    hub: type[Hub],
    dinov2_folder: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TQDM_POSITION", "-1")  # the hub's bars show themselves on a terminal only
    loaded = load_encoder(ID)
    said = capfd.readouterr().err
    assert loaded.name == ID
    assert loaded.digest == load_encoder(dinov2_folder).digest
    assert f"Downloading {ID} (1 MB) to " in said and "100%" in said


def test_what_was_downloaded_is_found_offline(
    hub: type[Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_encoder(ID)
    asked = len(hub.asked)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert load_encoder(ID).digest == first.digest
    assert len(hub.asked) == asked


def test_a_sharded_model_is_downloaded_whole(hub: type[Hub], dinov2_folder: Path) -> None:
    whole = load_encoder(dinov2_folder)
    (dinov2_folder / "model.safetensors").unlink()
    whole.model.save_pretrained(dinov2_folder, max_shard_size="100KB")
    assert len(list(dinov2_folder.glob("model-*.safetensors"))) > 1
    assert load_encoder(ID).digest == whole.digest


def test_a_model_without_safetensors_is_not_downloaded(hub: type[Hub], dinov2_folder: Path) -> None:
    (dinov2_folder / "model.safetensors").rename(dinov2_folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"no config\.json with model\.safetensors"):
        load_encoder(ID)
    assert not [path for path in hub.asked if "/resolve/" in path]


def test_an_id_that_the_hub_does_not_know_is_answered_with_the_nearest(hub: type[Hub]) -> None:
    with pytest.raises(CheckpointError, match="Did you mean facebook/dinov2-large"):
        load_encoder("facebook/dino2-large")


def test_offline_it_says_how_to_bring_the_weights() -> None:
    with pytest.raises(CheckpointError, match=r"HF_HUB_OFFLINE.*hf download facebook/sam2-hiera-"):
        load_segmenter("facebook/sam2-hiera-large")


def test_without_network_it_says_how_to_bring_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ask(port, monkeypatch)
    with pytest.raises(CheckpointError, match=r"could not be downloaded.*dinov2_vitl14_pretrain"):
        load_encoder("facebook/dinov2-large")


def test_an_incomplete_cache_is_not_taken(hub: type[Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    load_encoder(ID)
    cache = Path(constants.HF_HUB_CACHE)
    next(cache.rglob("snapshots/*/model.safetensors")).unlink()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match=r"HF_HUB_OFFLINE"):
        load_encoder(ID)


def test_every_published_id_has_the_name_that_meta_gave_its_file() -> None:
    assert SEGMENTERS["facebook/sam2-hiera-base-plus"] == "sam2_hiera_base_plus"
    assert SEGMENTERS["facebook/sam2.1-hiera-tiny"] == "sam2.1_hiera_tiny"
    assert ENCODERS["facebook/dinov2-giant"] == "dinov2_vitg14_pretrain"
    assert ENCODERS["facebook/dinov2-with-registers-small"] == "dinov2_vits14_reg4_pretrain"
    assert len(SEGMENTERS) == len(ENCODERS) == 8


def test_the_segmenters_are_named_as_in_fiftyones_own_manifest() -> None:
    package = importlib.util.find_spec("fiftyone")
    if package is None or package.origin is None:
        pytest.skip("FiftyOne is not installed")
    manifest = Path(package.origin).parent / "zoo" / "models" / "manifest-torch.json"
    names = {model.get("base_filename") for model in json.loads(manifest.read_text())["models"]}
    for stem in SEGMENTERS.values():
        assert {f"{stem}_image.pt", f"{stem}_video.pt"} <= names


@pytest.mark.parametrize("where", ["argument", "home"])
def test_metas_file_in_fiftyones_zoo_is_found(where: str, tmp_path: Path) -> None:
    zoo = tmp_path / ("home/fiftyone/__models__" if where == "home" else "zoo")
    zoo.mkdir(parents=True)
    file = zoo / "sam2.1_hiera_base_plus_image.pt"
    file.touch()
    dirs = [zoo] if where == "argument" else []
    assert find_in_zoo("facebook/sam2.1-hiera-base-plus", dirs) == file
    assert find_in_zoo("facebook/sam2-hiera-base-plus", dirs) is None


def test_a_dinov2_that_torch_hub_fetched_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "dinov2_vitl14_pretrain.pth").touch()
    assert find_in_zoo("facebook/dinov2-large") == folder / "dinov2_vitl14_pretrain.pth"


def test_the_zoos_file_is_taken_before_anything_is_downloaded(
    hub: type[Hub], tmp_path: Path
) -> None:
    (tmp_path / "dinov2_vits14_pretrain.pth").touch()
    with pytest.raises(CheckpointError, match=r"dinov2_vits14_pretrain\.pth is empty"):
        load_encoder("facebook/dinov2-small", zoo_dirs=[tmp_path])
    assert not hub.asked


def test_a_local_folder_comes_before_the_hub(
    hub: type[Hub], dinov2_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(dinov2_folder, tmp_path / ID)
    monkeypatch.chdir(tmp_path)
    load_encoder(ID)
    assert not hub.asked
