"""`GET /openapi.json` and `GET /docs`: every route described, for programs and for people."""

from collections.abc import Iterable
from functools import cache
from typing import Any, Final

import msgspec
from starlette.responses import Response

from a3s_power.aio import in_thread
from a3s_power.api.endpoint import Call, Endpoint
from a3s_power.api.ollama.goform import refusal

_NO_SNIFFING: Final = {"X-Content-Type-Options": "nosniff"}


def endpoints(table: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """The routes that describe those of `table`, and themselves. Each answer is made when it is first asked for."""

    @cache
    def described(version: str) -> dict[str, Any]:
        # Imported here since most servers are never asked.
        from a3s_power.api.descriptions import DIALECTS  # noqa: PLC0415
        from a3s_power.api.openapi import describe  # noqa: PLC0415

        return describe((*table, *rows), DIALECTS, version)

    @cache
    def as_json(version: str) -> bytes:
        return msgspec.json.encode(described(version))

    @cache
    def as_page(version: str) -> tuple[bytes, str]:
        from a3s_power.api.page import POLICY, page  # noqa: PLC0415 -- as above

        return page(described(version)).encode(), POLICY

    async def openapi(call: Call) -> Response:
        """The description of every route, as OpenAPI 3.1."""
        whole = await in_thread(as_json, call.settings.version)
        return Response(whole, media_type="application/json", headers=_NO_SNIFFING)

    async def docs(call: Call) -> Response:
        """The same as a page to read."""
        whole, policy = await in_thread(as_page, call.settings.version)
        headers = _NO_SNIFFING | {"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer"}
        return Response(whole, media_type="text/html", headers=headers)

    rows = (
        Endpoint(("GET",), "/openapi.json", "read", openapi, refusal),
        Endpoint(("GET",), "/docs", "read", docs, refusal),
    )
    return rows
