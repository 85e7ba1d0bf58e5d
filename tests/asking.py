"""Requests, and a model that they are for: what the tests of checks and of runs vary."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from a3s_power.core.digests import Digest
from a3s_power.core.manifest import ConfigBlob, Layer, Manifest
from a3s_power.core.messages import Message
from a3s_power.core.model import Facts, Model, ModelFiles
from a3s_power.core.names import ModelName
from a3s_power.core.requests import Chat, Generate

NAME = ModelName.parse("m")
USER = Message(role="user", content="hi")
IMAGE = b"\x89PNG\r\n\x1a\n"


def model(**changes: Any) -> Model:
    digest = Digest.of(b"")
    whole = Model(
        name=NAME,
        digest=digest,
        modified=datetime.now(UTC),
        manifest=Manifest(config=Layer(media_type="c", digest=str(digest), size=0), layers=()),
        config=ConfigBlob(model_family="llama"),
        weights=digest,
        files=ModelFiles(weights="w.gguf"),
        facts=Facts(architecture="llama"),
        capabilities=("completion",),
    )
    return msgspec.structs.replace(whole, **changes)


def chat(**fields: Any) -> Chat:
    return msgspec.structs.replace(Chat(model=NAME, shown="M", messages=(USER,)), **fields)


def generate(**fields: Any) -> Generate:
    return msgspec.structs.replace(Generate(model=NAME, shown="M", prompt="hi"), **fields)
