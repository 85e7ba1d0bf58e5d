"""`POST /api/create`: a model made from another or from uploaded files, told as it goes."""

from typing import Any

import msgspec
from starlette.responses import Response

from a3s_power.api.asked import local_name
from a3s_power.api.endpoint import Call
from a3s_power.api.ollama import oldfile
from a3s_power.api.ollama.gojson import GoStruct, Place
from a3s_power.api.ollama.progress import PROGRESS, line, only_success
from a3s_power.api.ollama.wire import Message, sent
from a3s_power.api.streams import EventResponse
from a3s_power.core import limits
from a3s_power.core.errors import BadRequest, PowerError
from a3s_power.core.names import ModelName
from a3s_power.core.requests import Create


async def create(call: Call) -> Response:
    """Make a model."""
    body = await sent(call, CreateRequest, limits.CHAT_BODY_BYTES)
    events = call.service.transfers.create(body.to_domain())
    return EventResponse(events, line if body.stream else only_success, PROGRESS)


class CreateRequest(GoStruct, frozen=True, kw_only=True):
    """The body. `name`, `quantization` and `modelfile` are what older clients send."""

    model: str = ""
    name: str = ""
    modelfile: str = ""
    source: str = msgspec.field(default="", name="from")
    files: dict[str, str] | None = None
    adapters: dict[str, str] | None = None
    draft_files: dict[str, str] = msgspec.field(default_factory=dict)
    template: str = ""
    system: str = ""
    license: Any = None
    parameters: dict[str, Any] = msgspec.field(default_factory=dict)
    messages: tuple[Message, ...] = ()
    quantize: str = ""
    quantization: str = ""
    draft_quantize: str = ""
    renderer: str = ""
    parser: str = ""
    requires: str = ""
    info: dict[str, Any] = msgspec.field(default_factory=dict)
    remote_host: str = ""
    stream: bool = True

    def to_domain(self) -> Create:
        """What is asked for. Raises BadRequest and NotAllowed.

        A Modelfile counts where no source is named beside it; what the request says itself goes before it.
        """
        if self.modelfile and not self.source and self.files is None:
            return self._with(oldfile.fields(self.modelfile)).to_domain()
        self._refuse_what_cannot_be()
        return Create(
            model=ModelName.parse(self.model or self.name),
            source=local_name(self.source) if self.source else None,
            files=self.files,
            adapters=self.adapters,
            draft_files=self.draft_files or None,
            template=self.template,
            system=self.system,
            licenses=_licenses(self.license),
            parameters=self.parameters,
            messages=tuple(message.to_domain() for message in self.messages),
            quantize=self.quantize or self.quantization,
            draft_quantize=self.draft_quantize,
            renderer=self.renderer,
            parser=self.parser,
            requires=self.requires,
            info=self.info,
        )

    def _with(self, fields: dict[str, Any]) -> "CreateRequest":
        unsaid = {name: value for name, value in fields.items() if not getattr(self, name)}
        parameters = {**fields.get("parameters", {}), **self.parameters}
        return msgspec.structs.replace(self, **unsaid | {"parameters": parameters, "modelfile": ""})

    def _refuse_what_cannot_be(self) -> None:
        if self.draft_quantize and not self.draft_files:
            raise BadRequest("--draft-quantize requires a DRAFT model")
        if self.remote_host:
            raise BadRequest("models of other servers cannot be created by this version")


def _licenses(value: object) -> tuple[str, ...]:
    """The texts of a license. Raises PowerError for what is none: Ollama reads it late."""
    match value:
        case None | "":
            return ()
        case str():
            return (value,)
        case list():
            wrong = next((each for each in value if not isinstance(each, str)), None)
            if wrong is None:
                return tuple(value)
            raise PowerError(Place().refuse(wrong, "string").message)
    raise PowerError(Place().refuse(value, "[]string").message)
