"""Push and pull against a stand-in of the hub's HTTP API on loopback: what huggingface_hub requests, and no more.

Files go through the commit request itself. Large files on the real hub take another way, which is huggingface_hub's own
business.
"""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from torch import Tensor

from cl_ast.backbone.backbone import Backbone
from cl_ast.errors import RegistryError
from cl_ast.manager import Manager
from registry import NewVersion
from tests.cl_ast.conftest import Fresh, Randomise, RegistryOf, commit_model

pytestmark = pytest.mark.slow

SHA = "a" * 40


class Hub(ThreadingHTTPServer):
    """One repository, me/birds: its files, the sizes that it claims for some of them, and the requests that came."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.sizes: dict[str, int] = {}
        self.requests: list[tuple[str, Any]] = []
        self.status = 200
        self.address = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_POST(self) -> None:
        words = [json.loads(line) for line in self.rfile.read(int(self.headers["Content-Length"])).splitlines()]
        self.server.requests.append((self.path, words))
        if self.server.status != 200:
            return self.answer({"error": "no"}, self.server.status)
        if self.path == "/api/repos/create":
            return self.answer({"url": f"{self.server.address}/me/birds", "name": "me/birds"})
        if self.path == "/api/validate-yaml":
            return self.answer({"errors": [], "warnings": []})
        if self.path == "/api/models/me/birds/preupload/main":
            names = [file["path"] for file in words[0]["files"]]
            modes = [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]
            return self.answer({"files": modes})
        if self.path == "/api/models/me/birds/commit/main":
            values = [word["value"] for word in words if word["key"] == "file"]
            self.server.files |= {value["path"]: base64.b64decode(value["content"]) for value in values}
            return self.answer({"commitUrl": f"{self.server.address}/me/birds/commit/{SHA}", "commitOid": SHA})
        return self.answer({}, 404)

    def do_GET(self) -> None:
        self.server.requests.append((self.path, None))
        files = self.server.files
        sizes = {name: self.server.sizes.get(name, len(data)) for name, data in files.items()}
        oid = {name: hashlib.sha1(data).hexdigest() for name, data in files.items()}
        name = self.path.rpartition("/")[2]
        if self.path.startswith("/api/models/me/birds/tree/"):
            return self.answer([{"type": "file", "path": n, "size": sizes[n], "oid": oid[n]} for n in files])
        if self.path.startswith("/api/models/me/birds"):
            siblings = [{"rfilename": n, "size": sizes[n], "blobId": oid[n]} for n in files]
            return self.answer({"id": "me/birds", "sha": SHA, "siblings": siblings})
        if self.path.startswith(f"/me/birds/resolve/{SHA}/") and name in files:
            return self.answer(files[name], headers={"ETag": f'"{oid[name]}"', "X-Repo-Commit": SHA})
        return self.answer({}, 404)

    def do_HEAD(self) -> None:
        self.do_GET()

    def answer(self, value: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for key, word in {**(headers or {}), "Content-Length": str(len(data))}.items():
            self.send_header(key, word)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def no_network() -> None:
    """In place of the one that refuses every connection: here there is a server, on loopback."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", "hf_not_a_real_one")
    with Hub() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def manager(
    tmp_path: Path, registry_of: RegistryOf, backbone: Backbone, fresh: Fresh, randomise: Randomise
) -> tuple[Manager, Manager]:
    home, guest = (Manager(registry_of(tmp_path / place, backbone), device="cpu") for place in ("home", "guest"))
    model = randomise(fresh("lora:qv,r=2"))
    commit_model(home.registry, "toy", model, backbone)
    return home, guest


def test_there_and_back(hub: Hub, manager: tuple[Manager, Manager], features: Tensor) -> None:
    home, guest = manager
    assert home.push("toy", "me/birds", endpoint=hub.address) == f"{hub.address}/me/birds"
    names = {"README.md", "adapter_config.json", "adapter_model.safetensors", "task.safetensors"}
    assert set(hub.files) == names
    assert hub.requests[0][1][0]["visibility"] == "private"
    hub.files["evil.bin"] = b"a pickle"
    record = guest.pull("me/birds", name="theirs", endpoint=hub.address)
    assert record.name == "theirs" and not any("evil" in path for path, _ in hub.requests)
    assert torch.equal(home.model("toy").logits(features), guest.model("theirs").logits(features))
    home.push("toy", "me/birds", public=True, endpoint=hub.address)
    assert [words[0]["visibility"] for path, words in hub.requests if path == "/api/repos/create"][-1] == "public"


ZOE = "Zoë Quux <zoe@quux.example>, 1971-03-04"
# What a header may say that an older release wrote, or somebody by hand.
OLD = {
    "protocol": f"by speaker, no speaker is in two splits (seed 0): speaker {ZOE} tests, speakers Åsa, b train",
    "source": {"task": "folder", "data": "/home/quokka/Wøhlert", "name": "Quux", "fold": ZOE, "split_by": "speaker"},
    "packages": {"cl-ast": "0.1.0", "torch": "2.11.0+cu128", "quux-lib": "1", "numpy": "/home/quokka/numpy"},
    "training": {"epochs": 3, "device": "the laptop of Quux", "host": "quokka", "curve": [{"epoch": 1, "by": ZOE}]},
    "data_fingerprint": "quokka",
}


def test_nothing_that_is_sent_names_anybody(hub: Hub, manager: tuple[Manager, Manager], backbone: Backbone) -> None:
    home, _ = manager
    was = home.registry.task("toy").version
    new = NewVersion(method=was.method, labels=was.labels, **OLD)  # type: ignore[arg-type]
    home.registry.commit("toy", home.registry.read_adapter(was), new, replace=True)
    home.push("toy", "me/birds", endpoint=hub.address)
    said = json.dumps([words for path, words in hub.requests if "/commit/" not in path])
    text = said + b"".join(hub.files.values()).decode("utf-8", "replace")
    for secret in ("Zoë Quux", "quux", "1971-03-04", "Åsa", "quokka", "Wøhlert", "laptop", "/home", backbone.name):
        assert secret not in text, secret
    card = hub.files["README.md"].decode()
    assert "| split | by speaker: each speaker that tests is in no other split |" in card
    assert "cl-ast 0.1.0, torch 2.11.0+cu128 |" in card
    assert "epochs 3" in card


def test_what_is_no_task_or_too_large_is_not_fetched(hub: Hub, manager: tuple[Manager, Manager]) -> None:
    home, guest = manager
    home.push("toy", "me/birds", endpoint=hub.address)
    hub.sizes["task.safetensors"] = 2**40
    with pytest.raises(RegistryError, match="larger than"):
        guest.pull("me/birds", endpoint=hub.address)
    del hub.files["adapter_config.json"]
    with pytest.raises(RegistryError, match="no adapter"):
        guest.pull("me/birds", endpoint=hub.address)
    assert not any("/resolve/" in path for path, _ in hub.requests) and guest.registry.tasks() == []


def test_errors_are_one_line(hub: Hub, manager: tuple[Manager, Manager], monkeypatch: pytest.MonkeyPatch) -> None:
    home, guest = manager
    hub.status = 403
    for refused in (
        lambda: home.push("toy", "me/birds", endpoint=hub.address),
        lambda: guest.pull("nobody/nothing", endpoint=hub.address),
        lambda: guest.pull("../../etc/passwd", endpoint=hub.address),
    ):
        with pytest.raises(RegistryError, match=r"cannot (push|pull)") as caught:
            refused()
        assert "\n" not in str(caught.value)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(RegistryError, match=r"cannot pull me/birds"):
        guest.pull("me/birds", endpoint=hub.address)
