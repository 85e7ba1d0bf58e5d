"""Hub library: what Hugging Face's own library knows of a repository; whatever it asks goes by our way out.

Needs the extra `convert`, and is imported when a repository without GGUFs is pulled.
"""

import functools
import re
import threading
from contextvars import ContextVar
from typing import Any, Final, NamedTuple

import httpx2
from huggingface_hub import HfApi, hf_hub_url, set_client_factory
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from a3s_power.core import limits
from a3s_power.core.digests import Digest
from a3s_power.core.errors import BadAnswer, BadRequest, InvalidDigest, NotThere, Refused
from a3s_power.registry.cancel import Cancel
from a3s_power.registry.client import Remote, patiently
from a3s_power.registry.connection import Answer
from a3s_power.registry.exchange import Exchange, shown
from a3s_power.registry.files import RemoteFile
from a3s_power.registry.settings import Patience
from a3s_power.registry.transfer import Wanted
from a3s_power.registry.urls import Url

_INFO_BYTES: Final = 8 * limits.MIB
_COMMIT = re.compile(r"[0-9a-f]{40}")
# What the library reads of an answer beside its body.
_HEARD: Final = ("Content-Type", "Retry-After", "X-Error-Code", "X-Error-Message")
# Whatever is odd about an answer shows itself in the library as one of these.
_ODD: Final = (ValueError, TypeError, KeyError, AttributeError, RecursionError)


class _Way(NamedTuple):
    exchange: Exchange
    cancel: Cancel


_way: ContextVar[_Way] = ContextVar("way")
_mutex = threading.Lock()


class _Transport(httpx2.BaseTransport):
    """Has the exchange of whoever asks carry a request: its are the proxies, the certificates and the secrets."""

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        way = _way.get()
        with way.exchange.ask(request.method, Url.parse(str(request.url)), way.cancel) as answer:
            headers = {name: answer.header(name) for name in _HEARD if answer.header(name)}
            return httpx2.Response(answer.status, headers=headers, content=answer.read(_INFO_BYTES), request=request)


class Repository:
    """A repository of the hub at its newest commit, which stays the same however long the pull takes."""

    def __init__(self, name: str, hub: Url, exchange: Exchange, patience: Patience, cancel: Cancel) -> None:
        """Ask the hub for it.

        Raises:
            NotThere, RegistryFailed: nobody has it, or not for us.
            BadRequest: a name that the hub has none of.
        """
        self._name = name
        self._exchange = exchange
        self._endpoint = str(hub).rstrip("/")
        with _mutex:
            _use_our_transport()
        reset = _way.set(_Way(exchange, cancel))
        try:
            self._commit, self._files = patiently(self._asked, patience, cancel)
        finally:
            _way.reset(reset)

    def _asked(self) -> tuple[str, dict[str, tuple[Any, Digest | None]]]:
        """The commit, and its files: bytes of each, and its digest where the hub keeps one."""
        try:
            # The exchange adds HF_TOKEN, for the hub alone.
            info = HfApi(endpoint=self._endpoint, token=False).model_info(self._name, files_metadata=True)
        except HFValidationError as error:
            raise BadRequest(f"{self._name} is no repository: {shown(str(error))}") from error
        except HfHubHTTPError as error:
            raise _refusal(error) from error
        except _ODD as error:
            raise self._odd() from error
        if not _COMMIT.fullmatch(str(info.sha)):
            raise self._odd()
        # The library takes names and numbers as they come.
        files: list[Any] = info.siblings or []
        return str(info.sha), {
            str(file.rfilename): (file.lfs.size, _digest(file.lfs.sha256)) if file.lfs else (file.size, None)
            for file in files
        }

    def _odd(self) -> BadAnswer:
        return BadAnswer(f"answer of {self._endpoint} about {self._name} cannot be read")

    @property
    def names(self) -> list[str]:
        """The paths of its files, sorted."""
        return sorted(self._files)

    def file(self, path: str) -> RemoteFile:
        """One of its files, to be fetched. Raises BadAnswer for one of no possible size."""
        size, digest = self._files[path]
        if not isinstance(size, int) or size < 0:
            raise self._odd()
        url = Url.parse(hf_hub_url(self._name, path, revision=self._commit, endpoint=self._endpoint))

        def first(headers: dict[str, str], asked: Cancel) -> Answer:
            return self._exchange.ask("GET", url, asked, headers=headers, redirects="within the host")

        key = digest or Digest.of(f"{url}\n{size}".encode())
        return RemoteFile(url, path, Wanted(key, size, Remote(first, self._exchange), known=digest is not None))


@functools.cache
def _use_our_transport() -> None:
    # The library has one client for all; which exchange it asks by is said per thread.
    set_client_factory(lambda: httpx2.Client(transport=_Transport(), trust_env=False))


def _digest(text: object) -> Digest | None:
    try:
        return Digest.parse(f"sha256:{text}")
    except InvalidDigest:
        return None


def _refusal(error: HfHubHTTPError) -> NotThere | Refused:
    status = error.response.status_code
    if status == 404:
        return NotThere()
    said = shown(error.server_message or "")
    after = error.response.headers.get("Retry-After", "")
    return Refused(f"{status}: {said}" if said else str(status), status, float(after) if after.isdecimal() else 0.0)
