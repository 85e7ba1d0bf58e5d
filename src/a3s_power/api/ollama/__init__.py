"""Ollama's own dialect: the table of every route under `/api`."""

from typing import Final

import msgspec

from a3s_power.api.endpoint import Endpoint, Handler, Scope
from a3s_power.api.ollama import account, blobs, models, transfers
from a3s_power.api.ollama.chat import ChatRequest, chat
from a3s_power.api.ollama.create import CreateRequest, create
from a3s_power.api.ollama.embed import EmbeddingRequest, EmbedRequest, embed, embeddings
from a3s_power.api.ollama.generate import GenerateRequest, generate
from a3s_power.api.ollama.goform import NDJSON, refusal
from a3s_power.api.ollama.ps import ps
from a3s_power.api.ollama.show import ShowRequest, show

_Body = type[msgspec.Struct] | None


def _at(methods: str, path: str, scope: Scope, handler: Handler, body: _Body = None) -> Endpoint:
    return Endpoint(tuple(methods.split()), path, scope, handler, refusal, body)


def _streaming(path: str, scope: Scope, handler: Handler, body: _Body) -> Endpoint:
    return _at("POST", path, scope, handler, body)._replace(stream=NDJSON)


ENDPOINTS: Final = (
    _streaming("/api/chat", "infer", chat, ChatRequest),
    _streaming("/api/generate", "infer", generate, GenerateRequest),
    _at("POST", "/api/embed", "infer", embed, EmbedRequest),
    _at("POST", "/api/embeddings", "infer", embeddings, EmbeddingRequest),
    _at("HEAD GET", "/", "open", account.running),
    _at("HEAD GET", "/api/version", "open", account.version),
    _at("HEAD GET", "/api/tags", "read", models.tags),
    _at("GET", "/api/ps", "read", ps),
    _at("POST", "/api/show", "read", show, ShowRequest),
    _at("POST", "/api/copy", "manage", models.copy, models.CopyRequest),
    _at("DELETE", "/api/delete", "manage", models.delete, models.DeleteRequest),
    _streaming("/api/create", "manage", create, CreateRequest),
    _streaming("/api/pull", "manage", transfers.pull, transfers.PullRequest),
    _streaming("/api/push", "manage", transfers.push, transfers.PushRequest),
    _at("HEAD", "/api/blobs/{digest}", "manage", blobs.has),
    _at("POST", "/api/blobs/{digest}", "manage", blobs.upload),
    _at("GET", "/api/blobs/{digest}", "manage", blobs.download),
    _at("DELETE", "/api/blobs/{digest}", "manage", blobs.remove),
    _at("GET", "/api/status", "read", account.status),
    _at("GET", "/api/experimental/model-recommendations", "read", account.recommendations),
    _at("POST", "/api/experimental/web_search", "infer", account.web("web search")),
    _at("POST", "/api/experimental/web_fetch", "infer", account.web("web fetch")),
    _at("POST", "/api/me", "admin", account.me),
    _at("POST", "/api/signout", "admin", account.sign_out),
    _at("DELETE", "/api/user/keys/{key}", "admin", account.sign_out),
)
