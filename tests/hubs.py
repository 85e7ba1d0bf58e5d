"""A public network with a registry and a hub in it, and where the hub keeps its files: each a real server."""

import json
from pathlib import Path
from typing import Any, Final

import msgspec

from a3s_power.core.digests import Digest
from a3s_power.registry.supply import Supply
from tests.internet import Authority, Internet
from tests.pulling import supply
from tests.registries import Registry, Reply

COMMIT: Final = "8bc0ffee" * 5
WORLD: Final = ("registry.ollama.ai", "huggingface.co", "cdn.test", "mirror.test", "files.test")


class Net:
    """A registry, a hub, and where the hub keeps its files; each a server of its own with its own name."""

    def __init__(self, folder: Path, authority: Authority, servers: dict[str, Registry]) -> None:
        self.internet = Internet()
        for number, (name, server) in enumerate(servers.items(), 1):
            self.internet.put(name, f"93.184.216.{number}", server.port)
        self.servers = servers
        self._folder = folder
        self._authority = authority

    def __getitem__(self, name: str) -> Registry:
        return self.servers[name]

    def supply(self, **settings: Any) -> Supply:
        environ = {"SSL_CERT_FILE": str(self._authority.path), **settings.pop("environ", {})}
        return supply(self._folder, self.internet, environ=environ, **settings)

    def hub_file(self, path: str, content: bytes) -> None:
        """A file of the hub, whose content lies elsewhere behind a signed address."""
        self["cdn.test"].files[f"/lfs/{path}"] = content
        linked = {"X-Linked-Etag": f'"{Digest.of(content).hex}"', "X-Linked-Size": str(len(content))}
        self._hub_answers[f"/{path}"] = Reply(302, {"Location": f"https://cdn.test/lfs/{path}?sig=1", **linked})

    def hub_repository(self, name: str, files: dict[str, bytes], **other: object) -> None:
        """A repository, in the words that the hub's own library expects: weights are kept elsewhere, the rest here.

        `other` is added to what is said of it.
        """
        siblings: list[dict[str, object]] = []
        for path, content in files.items():
            siblings.append({"rfilename": path, "size": len(content), "blobId": "b" * 40})
            if path.endswith(".safetensors"):
                siblings[-1]["lfs"] = {"sha256": Digest.of(content).hex, "size": len(content), "pointerSize": 134}
                self.hub_file(f"{name}/resolve/{COMMIT}/{path}", content)
            else:
                self["huggingface.co"].files[f"/{name}/resolve/{COMMIT}/{path}"] = content
        self.hub_json(f"/api/models/{name}", {"id": name, "sha": COMMIT, "siblings": siblings, **other})
        self.hub_json(f"/api/models/{name}/tree/main", [{"type": "file", "path": path, "size": 1} for path in files])
        refusal = json.dumps({"error": "Repository is not GGUF or is not compatible with llama.cpp"}).encode()
        self.hub_answer(f"/v2/{name}/manifests/latest", Reply(400, {}, refusal))

    def hub_answer(self, path: str, reply: Reply) -> None:
        """What the hub says to this."""
        self._hub_answers[path] = reply

    def hub_json(self, path: str, value: object) -> None:
        self._hub_answers[path] = Reply(200, {}, msgspec.json.encode(value))

    def open(self) -> None:
        self._hub_answers: dict[str, Reply] = {}
        self["huggingface.co"].twist = lambda asked, reply: self._hub_answers.get(asked.path.partition("?")[0], reply)
