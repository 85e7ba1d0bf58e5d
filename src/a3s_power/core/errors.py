"""Everything that may go wrong, as one small tree.

    PowerError 500
    ├── BadRequest 400      InvalidName · InvalidOption (500) · BadFormat (500) · InvalidDuration · InvalidDigest
    │                       BadModelfile · BadTemplate · BadFile · BadConfig · PromptTooLong · NotCapable
    │                       TooLarge (413) · CompressedBody (415)
    ├── NotAllowed 403
    ├── NotFound 404        ModelNotFound · BlobNotFound
    ├── NotSupported 501    what this version, or this kind of model, does not offer
    ├── Busy 503            QueueFull · Overdue · NoRoom
    ├── EngineFailed 500    EngineRefused · EngineMissing · LoadFailed · LoadStalled · OutOfMemory · RunnerDied
    ├── StoreFailed 500     DigestMismatch (400) · InUse (409) · DiskFull (507) · BadManifest
    └── RegistryFailed 500  Unreachable · NotThere · NeedsConsent · Unauthorized · Refused · BadAnswer · Cancelled

`status` is a hint for the HTTP edge; nothing below the edge reads it. Errors cross from the child process to the server
as their `kind` and message, and are made again there with `revive`.
"""

from collections.abc import Iterator
from typing import ClassVar, Final


class PowerError(Exception):
    """The root: str(error) is the sentence a user reads."""

    status: ClassVar[int] = 500

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message: Final = message

    @property
    def kind(self) -> str:
        """The class's name, which `revive` turns back into the class."""
        return type(self).__name__


class BadRequest(PowerError):
    """The caller asked for something that cannot be."""

    status = 400


class InvalidName(BadRequest):
    """A text that is no model name."""

    def __init__(self, message: str = "invalid model name") -> None:
        super().__init__(message)


class InvalidOption(BadRequest):
    """An option of a wrong type; 500 on Ollama's wire, which checks options late."""

    status = 500


class BadFormat(BadRequest):
    """A `format` that is neither "json" nor a schema; 500 on Ollama's wire, which finds it when generation starts."""

    status = 500


class InvalidDuration(BadRequest):
    """A text that is no Go duration."""


class InvalidDigest(BadRequest):
    """A text that is no sha256 digest."""

    def __init__(self, message: str = "invalid digest format") -> None:
        super().__init__(message)


class BadModelfile(BadRequest):
    """A Modelfile that cannot be parsed."""


class BadConfig(BadRequest):
    """A setting that is unknown or unusable."""


class BadTemplate(BadRequest):
    """A prompt template that cannot be parsed, is not allowed, or goes over its budget."""


class BadFile(BadRequest):
    """A model file (GGUF) that is corrupt, cut off, hostile, or not what it should be."""


class PromptTooLong(BadRequest):
    """A prompt that does not fit into the context and may not be cut. `tokens` is its length, 0 where it is unknown.

    `limit` is how long it may be, 0 where the message says so itself.
    """

    tokens: int = 0
    limit: int = 0

    def __init__(self, message: str, tokens: int = 0, limit: int = 0) -> None:
        super().__init__(message)
        self.tokens = tokens
        self.limit = limit


class NotCapable(BadRequest):
    """A model asked for what it cannot do."""


class TooLarge(BadRequest):
    """A body over its limit."""

    status = 413


class CompressedBody(BadRequest):
    """A body with a Content-Encoding, which nobody here decodes."""

    status = 415


class NotAllowed(PowerError):
    """Understood, and refused."""

    status = 403


class NotFound(PowerError):
    """No such thing."""

    status = 404


class ModelNotFound(NotFound):
    """No such model in the store. `name` is what the caller wrote."""

    def __init__(self, name: str) -> None:
        super().__init__(f"model '{name}' not found")
        self.name: Final = name


class BlobNotFound(NotFound):
    """No such blob in the store."""

    def __init__(self, digest: object) -> None:
        super().__init__(f'blob "{digest}" not found')


class NotSupported(PowerError):
    """Not offered: by this version, or by this kind of model."""

    status = 501


class Busy(PowerError):
    """Not now."""

    status = 503


class QueueFull(Busy):
    """More requests wait than are allowed to. The two blanks are Ollama's."""

    def __init__(self, message: str = "server busy, please try again.  maximum pending requests exceeded") -> None:
        super().__init__(message)


class Overdue(Busy):
    """A request that waited for its slot until its deadline."""

    def __init__(self, message: str = "server busy, please try again.  the request's deadline has passed") -> None:
        super().__init__(message)


class NoRoom(Busy):
    """A model that would have to displace those that the operator has pinned."""

    def __init__(self, message: str = "the models that are pinned leave no room for this one") -> None:
        super().__init__(message)


class EngineFailed(PowerError):
    """The model's child process could not do its work."""


class EngineRefused(EngineFailed):
    """The engine took the request for a bad one, and said why."""

    status = 400


class EngineMissing(EngineFailed):
    """The engine's library is not installed, or this processor cannot run it."""


class LoadFailed(EngineFailed):
    """The engine could not load the model; the message carries its last log lines."""


class LoadStalled(LoadFailed):
    """A load that made no progress for too long."""


class OutOfMemory(LoadFailed):
    """The model does not fit; the message holds both numbers where they are known."""


class RunnerDied(EngineFailed):
    """The child process ended under its requests; the message carries its last log lines."""


class StoreFailed(PowerError):
    """The models folder could not do what was asked."""


class DigestMismatch(StoreFailed):
    """Content that does not hash to its digest."""

    status = 400


class InUse(StoreFailed):
    """Something that is still referred to."""

    status = 409


class DiskFull(StoreFailed):
    """No room for what should be written."""

    status = 507


class BadManifest(StoreFailed):
    """A manifest or config in the store that cannot be read."""


class RegistryFailed(PowerError):
    """Another place did not do what was asked of it."""


class Unreachable(RegistryFailed):
    """Nobody answered, or the connection broke."""


class NotThere(RegistryFailed):
    """The other place has no such thing."""

    def __init__(self, message: str = "file does not exist") -> None:
        super().__init__(message)


class NeedsConsent(NotThere):
    """Nobody named it for sure, but a search found something. `found` is the name by which that can be pulled."""

    def __init__(self, message: str, found: str = "") -> None:
        super().__init__(message)
        self.found: Final = found


class Unauthorized(RegistryFailed):
    """The other place does not know us, or not well enough."""

    def __init__(self, message: str = "unauthorized: access denied") -> None:
        super().__init__(message)


class Refused(RegistryFailed):
    """The other place answered with an error. `code` is its status, `retry_after` the seconds it asks us to wait."""

    def __init__(self, message: str, code: int = 0, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.code: Final = code
        self.retry_after: Final = retry_after


class BadAnswer(RegistryFailed):
    """An answer that cannot be used, or content that is not what it should be."""


class Cancelled(RegistryFailed):
    """Whoever wanted it wants it no more."""

    def __init__(self, message: str = "context canceled") -> None:
        super().__init__(message)


def _tree(root: type[PowerError]) -> Iterator[tuple[str, type[PowerError]]]:
    yield root.__name__, root
    for child in root.__subclasses__():
        yield from _tree(child)


_KINDS: Final = dict(_tree(PowerError))


def revive(kind: str, message: str) -> PowerError:
    """The error that crossed a process boundary; of an unknown kind it is an `EngineFailed`."""
    error_type = _KINDS.get(kind, EngineFailed)
    error = error_type.__new__(error_type)
    PowerError.__init__(error, message)
    return error
