"""Kept responses: what goes into the keeping of one, what others go on from, and the routes that give it back."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
from starlette.responses import Response

from a3s_power.aio import in_thread
from a3s_power.api.bodies import check_json
from a3s_power.api.endpoint import Call
from a3s_power.api.openai.answers import answer
from a3s_power.api.openai.errors import JSON, WrongField
from a3s_power.api.openai.responses_events import Told
from a3s_power.api.openai.responses_items import Item
from a3s_power.core.errors import BadRequest, NotFound, PowerError
from a3s_power.core.events import Done, Event
from a3s_power.log import get_logger
from a3s_power.service.ports import Events, Kept, Responses

_OFF: Final = "responses are not kept here: the setting store_responses turns that on"
_PREFIXES: Final = {"message": "msg", "reasoning": "rs", "function_call": "fc", "function_call_output": "fco"}
_PAGE: Final = 20
_LONGEST_PAGE: Final = 100
_DIGITS: Final = 100
"""Of a number that is read at all."""

_log: Final = get_logger(__name__)


async def earlier(responses: Responses | None, known_as: str | None) -> list[Item]:
    """All that was said and answered up to a response, it included. Raises WrongField where it is not here."""
    if not known_as:
        return []
    if responses is None:
        raise WrongField(_OFF, "previous_response_id")
    try:
        chain = await responses.chain(known_as)
    except NotFound:
        message = f"Previous response with id '{known_as}' not found."
        raise WrongField(message, "previous_response_id", "previous_response_not_found") from None
    return await in_thread(_history, chain)


def refers(item: object) -> bool:
    """Whether an item only stands for another."""
    return isinstance(item, dict) and item.get("type") == "item_reference"


async def resolved(responses: Responses | None, items: Sequence[Any]) -> list[Any]:
    """The items, those that only refer to others replaced by them. Raises BadRequest for one that is not here."""
    known: dict[str, Item] = {}
    found: list[Any] = []
    for place, item in enumerate(items):
        match item:
            case {"type": "item_reference", "id": str() as known_as}:
                if known_as not in known:
                    known |= await _siblings(responses, known_as, place)
                if known_as not in known:
                    raise BadRequest(f"input[{place}]: Item with id '{known_as}' not found.")
                found.append(known[known_as])
            case _:
                found.append(item)
    return found


async def _siblings(responses: Responses | None, known_as: str, place: int) -> dict[str, Item]:
    """All items of the response that an item belongs to, by their ids: the ids of both have their middle in common."""
    if responses is None:
        raise BadRequest(f"input[{place}]: item_reference: {_OFF}")
    try:
        one = await responses.find(f"resp_{known_as.partition('_')[2].partition('_')[0]}")
    except NotFound:
        return {}
    return {item["id"]: item for item in await in_thread(_history, (one,))}


def _history(chain: Sequence[Kept], *, last_answer: bool = True) -> list[Item]:
    """The items of responses one after the other: what each was asked with and what it answered."""
    body = b"[%b]" % b",".join(part for kept in chain for part in (kept.items, kept.answer))
    check_json(body)
    parts: list[Any] = msgspec.json.decode(body)
    if not last_answer:
        parts.pop()
    return [item for part in parts for item in (part if isinstance(part, list) else part["output"])]


class Keeping:
    """What keeps a response once it is whole. `items` are those of the request, `number` is of the response's id."""

    def __init__(self, responses: Responses, items: Sequence[Item], number: str) -> None:
        self._responses = responses
        self._items = items
        self._number = number

    @asynccontextmanager
    async def watched(self, events: Events, told: Told) -> AsyncIterator[AsyncIterator[Event]]:
        """The events; the last one comes when the response is kept."""
        async with events as incoming:
            yield self._watched(incoming, told)

    async def _watched(self, events: AsyncIterator[Event], told: Told) -> AsyncIterator[Event]:
        async for event in events:
            if isinstance(event, Done):
                told.finish(event)
                await self._keep(told.response)
            yield event

    async def _keep(self, response: Item) -> None:
        """Keep it. Where that cannot be, the answer says that it is not kept, and the log why."""
        try:
            await self._responses.keep(await in_thread(self._packed, response))
        except PowerError as error:
            _log.warning("a response was not kept", reason=error.message)
            response["store"] = False

    def _packed(self, response: Item) -> Kept:
        items = [_shown(item, self._number, place) for place, item in enumerate(self._items)]
        return Kept(
            response["id"],
            response["previous_response_id"] or "",
            msgspec.json.encode(items),
            msgspec.json.encode(response),
        )


def _shown(item: Item, number: str, place: int) -> Item:
    """An item of a request as it is given back: with an id, a type, and its content in parts."""
    kind = item.get("type") or "message"
    named = {"id": f"{_PREFIXES.get(kind, 'item')}_{number}_in_{place}", "type": kind, "status": "completed"}
    shown = named | {name: each for name, each in item.items() if each is not None}
    if not isinstance(shown["id"], str):
        shown["id"] = named["id"]
    if kind == "message" and isinstance(shown.get("content"), str):
        part = "output_text" if shown.get("role") == "assistant" else "input_text"
        shown["content"] = [{"type": part, "text": shown["content"]}]
    return shown


async def retrieve(call: Call) -> Response:
    """`GET /v1/responses/{id}`: a kept response."""
    if call.query_params.get("stream", "").lower() == "true":
        raise WrongField("a response that is kept is not streamed again", "stream")
    kept = await _responses(call).find(call.path_params["response"])
    return Response(kept.answer, media_type=JSON)


async def delete(call: Call) -> Response:
    """`DELETE /v1/responses/{id}`: a response is kept no longer."""
    known_as = call.path_params["response"]
    await _responses(call).remove(known_as)
    return answer({"id": known_as, "object": "response", "deleted": True})


async def input_items(call: Call) -> Response:
    """`GET /v1/responses/{id}/input_items`: what a kept response was made from, page by page, the latest first."""
    chain = await _responses(call).chain(call.path_params["response"])
    items = await in_thread(lambda: _history(chain, last_answer=False))
    if _word(call, "order", ("desc", "asc")) == "desc":
        items.reverse()
    begin, size = _begin(call, items), _size(call)
    page = items[begin : begin + size]
    ids = [item["id"] for item in page]
    return answer(
        {
            "object": "list",
            "data": page,
            "first_id": ids[0] if ids else None,
            "last_id": ids[-1] if ids else None,
            "has_more": begin + size < len(items),
        }
    )


def _responses(call: Call) -> Responses:
    if call.service.responses is None:
        raise NotFound(f"Response with id '{call.path_params['response']}' not found: {_OFF}")
    return call.service.responses


def _word(call: Call, name: str, allowed: Sequence[str]) -> str:
    """A word of the query, the first of those that are allowed when it has none."""
    word = call.query_params.get(name, allowed[0])
    if word not in allowed:
        raise WrongField(f"{name} must be one of {', '.join(allowed)}", name)
    return word


def _size(call: Call) -> int:
    text = call.query_params.get("limit", str(_PAGE))
    if not text.isdecimal() or len(text) > _DIGITS or not 1 <= int(text) <= _LONGEST_PAGE:
        raise WrongField(f"limit must be between 1 and {_LONGEST_PAGE}", "limit")
    return int(text)


def _begin(call: Call, items: Sequence[Item]) -> int:
    after = call.query_params.get("after")
    if after is None:
        return 0
    place = next((place for place, item in enumerate(items) if item["id"] == after), None)
    if place is None:
        raise WrongField(f"there is no item '{after}'", "after")
    return place + 1
