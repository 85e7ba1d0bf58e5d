"""power-tiny with its image encoder: what it says of pictures, through the API, is what the bare engine says."""

import hashlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
from PIL import Image

from a3s_power.core.manifest import PROJECTOR, ConfigBlob
from a3s_power.service.local import LocalSettings, open_local
from a3s_power.store import Store
from tests.bare import bare
from tests.models import tiny_llama
from tests.pictures import FORMATS, Picture, base64_of, file, picture, pixels
from tests.running import DEADLINE, running
from tests.shared import BUILTIN_MODEL, shared_file
from tests.stores import add_model

_MMPROJ: Final = "models/power-tiny/power-tiny-mmproj.gguf"
_QUESTIONS: Final = (
    ("What colour is it?", "The colour is {0.colour}."),
    ("What shape is it?", "It is a {0.shape}."),
    ("What is in the image?", "A {0.colour} {0.shape}."),
    ("Describe the image.", "The image shows a {0.colour} {0.shape}."),
)
_COUNT: Final = 100
_RED, _BLUE = (Image.new("RGB", (64, 64), colour) for colour in ((220, 20, 20), (20, 40, 220)))


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    """A client of a real server whose store has `see`, made by create from power-tiny and its image encoder."""
    projector = shared_file(_MMPROJ)
    folder = tmp_path_factory.mktemp("seeing")
    with (
        running(lambda: open_local(LocalSettings(models=folder / "models"))) as port,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE) as client,
    ):
        files = {"weights.gguf": _uploaded(client, BUILTIN_MODEL), "mmproj.gguf": _uploaded(client, projector)}
        made = client.post("/api/create", json={"model": "see", "files": files, "stream": False})
        assert made.status_code == 200, made.text
        _blind(Store(folder / "models"), folder)
        yield client


def _uploaded(client: httpx2.Client, path: Path) -> str:
    content = path.read_bytes()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert client.post(f"/api/blobs/{digest}", content=content).status_code == 201
    return digest


def _blind(store: Store, folder: Path) -> None:
    """Models from elsewhere, whose projector is none (the weights of another model), or is not whole."""
    tiny_llama(folder / "tiny.gguf")
    weights = (folder / "tiny.gguf").read_bytes()
    config = ConfigBlob(model_format="gguf", model_family="llama")
    add_model(store, "blind", (PROJECTOR, weights), weights=weights, config=config)
    add_model(store, "cut", (PROJECTOR, shared_file(_MMPROJ).read_bytes()[:-1000]), weights=weights, config=config)


def _body(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    options = {"temperature": 0, "num_predict": 24} | more.pop("options", {})
    return {"model": "see", "messages": messages, "think": False, "stream": False, "options": options} | more


def _said(text: str, *files: bytes, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": text, "images": [base64_of(data) for data in files]}


def _chat(http: httpx2.Client, *messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    answer = http.post("/api/chat", json=_body(*messages, **more))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def _content(http: httpx2.Client, *messages: dict[str, Any], **more: Any) -> str:
    content: str = _chat(http, *messages, **more)["message"]["content"]
    return content


def _error(http: httpx2.Client, *messages: dict[str, Any], **more: Any) -> tuple[int, str]:
    answer = http.post("/api/chat", json=_body(*messages, **more))
    return answer.status_code, answer.json()["error"]


def test_a_hundred_pictures_are_seen_as_the_bare_engine_sees_them(http: httpx2.Client, tmp_path: Path) -> None:
    asked: list[tuple[str, Picture, str, bytes]] = []
    for number in range(_COUNT):
        (question, right), shown = _QUESTIONS[number % len(_QUESTIONS)], picture(number)
        asked.append((question, shown, right.format(shown), shown.file(FORMATS[number % len(FORMATS)])))
    calls = [("chat_completions", _to_engine(question, data)) for question, _, _, data in asked]
    expected = bare(tmp_path, BUILTIN_MODEL, calls, projector=shared_file(_MMPROJ), n_ctx=512)
    texts = [_content(http, _said(question, data)) for question, _, _, data in asked]
    assert texts == [answer["choices"][0]["message"]["content"] for answer in expected]
    wrong = [(text, right) for text, (_, _, right, _) in zip(texts, asked, strict=True) if text != right]
    assert len(wrong) <= _COUNT // 10, wrong


def _to_engine(question: str, data: bytes) -> dict[str, Any]:
    """The same question to the bare engine, in the order the model's own chat takes: text, then image."""
    if data[8:12] == b"WEBP":
        # The engine cannot read it.
        data = file(pixels(data))
    return _chat_to_engine([_said(question, data)])


def _chat_to_engine(messages: list[dict[str, Any]]) -> dict[str, Any]:
    fixed = {"temperature": 0, "max_tokens": 24, "chat_template_kwargs": {"enable_thinking": False}}
    return {"messages": [message | {"content": _parts(message)} for message in messages]} | fixed


def _parts(message: dict[str, Any]) -> list[dict[str, Any]]:
    texts = [{"type": "text", "text": message["content"]}] if message["content"] else []
    images = [{"type": "image_url", "image_url": {"url": data}} for data in message.get("images", ())]
    return [*texts, *images]


def test_conversations_with_images_are_read_as_the_bare_engine_reads_them(http: httpx2.Client, tmp_path: Path) -> None:
    colour, shape = "What colour is it?", "What shape is it?"
    red, blue = file(_RED), picture(3).file()
    answer = {"role": "assistant", "content": "The colour is red."}
    system = {"role": "system", "content": "You are a helpful assistant."}
    conversations = [
        [_said(colour, red), answer, _said(colour, blue)],
        [_said(colour, red), answer, _said(shape)],
        [_said("Hello"), answer, _said(colour, red)],
        [_said(colour, red, blue)],
        [_said(colour, blue, red)],
        [system, _said("", blue)],
        [_said(colour, red), _said(shape, blue)],
    ]
    calls = [("chat_completions", _chat_to_engine(messages)) for messages in conversations]
    expected = bare(tmp_path, BUILTIN_MODEL, calls, projector=shared_file(_MMPROJ), n_ctx=512)
    for messages, said in zip(conversations, expected, strict=True):
        answered = _chat(http, *messages)
        assert answered["message"]["content"] == said["choices"][0]["message"]["content"]
        assert answered["prompt_eval_count"] == said["usage"]["prompt_tokens"]


def test_a_prompt_is_answered_as_a_chat_is(http: httpx2.Client) -> None:
    body = {"model": "see", "prompt": "What colour is it?", "images": [base64_of(file(_BLUE))], "think": False}
    answer = http.post("/api/generate", json=body | {"stream": False, "options": {"temperature": 0}}).json()
    assert answer["response"] == "The colour is blue."
    # Sixteen of them are the image's, and no token id stands for those.
    assert answer["prompt_eval_count"] + answer["eval_count"] - len(answer["context"]) in (16, 17)


def test_raw_prompts_have_their_own_places(http: httpx2.Client) -> None:
    prompt = "<|im_start|>user\n[img-1]What colour is it?<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    files = [base64_of(file(_RED)), base64_of(file(_BLUE))]
    body: dict[str, Any] = {"model": "see", "prompt": prompt, "images": files, "raw": True, "stream": False}
    shown = http.post("/api/generate", json=body | {"_debug_render_only": True}).json()["_debug_info"]
    assert shown == {"rendered_template": f"[img-0]{prompt}", "image_count": 2}
    assert http.post("/api/generate", json=body | {"options": {"temperature": 0}}).json()["done"] is True


@pytest.mark.parametrize(
    ("path", "body", "placed"),
    [
        ("/api/chat", {"messages": [{"role": "user", "content": "compare", "images": 2}]}, "compare[img-0][img-1]"),
        ("/api/generate", {"prompt": "compare", "images": 2}, "[img-0][img-1]compare"),
        ("/api/generate", {"prompt": "look [img]", "images": 1}, "look [img-0]"),
        ("/api/generate", {"prompt": "look [img-0]", "images": 1}, "[img-0]look [img-0]"),
    ],
)
def test_the_rendered_prompt_shows_where_images_go(
    http: httpx2.Client, path: str, body: dict[str, Any], placed: str
) -> None:
    def filled(part: dict[str, Any]) -> dict[str, Any]:
        return part | {"images": [base64_of(file(_RED))] * part["images"]} if "images" in part else part

    messages = {"messages": [filled(message) for message in body["messages"]]} if "messages" in body else {}
    asked = {"model": "see", "think": False, "_debug_render_only": True, "stream": False} | filled(body) | messages
    info = http.post(path, json=asked).json()["_debug_info"]
    prompt = f"<|im_start|>user\n{placed}<|im_end|>\n<|im_start|>assistant\n"
    assert info["rendered_template"].startswith(prompt)
    assert info["image_count"] == placed.count("[img-") - placed.startswith("[img-0]look")


def test_thinking_stops_and_likelihoods_work_beside_an_image(http: httpx2.Client) -> None:
    said = _said("What colour is it?", file(_RED))
    thought = _chat(http, said, think=True, options={"num_predict": 60})["message"]
    assert thought["thinking"]
    assert "<think>" not in thought["content"]
    answer = _chat(http, said, logprobs=True, top_logprobs=2, options={"stop": ["red"]})
    assert answer["message"]["content"] == "The colour is "
    assert [token["token"] for token in answer["logprobs"]][:3] == ["The", " colour", " is"]
    assert all(len(token["top_logprobs"]) == 2 for token in answer["logprobs"])


def test_the_oldest_images_go_first_when_a_conversation_is_too_long(http: httpx2.Client) -> None:
    part, last = _said("word " * 600, file(_BLUE)), _said("What colour is it?", file(_RED))
    # A longer context that is already there would be used by conversations with images.
    http.post("/api/generate", json={"model": "see", "keep_alive": 0})
    end = time.monotonic() + DEADLINE
    while any(model["name"] == "see:latest" for model in http.get("/api/ps").json()["models"]):
        assert time.monotonic() < end
        time.sleep(0.01)
    asked = _chat(http, part, part, part, last, options={"num_ctx": 2048})
    # An image counts for what it takes: with Ollama's 768 tokens for each, two of the parts would have had to go.
    assert 1800 < asked["prompt_eval_count"] < 2048
    long = _said("word " * 2040, file(_BLUE))
    assert _content(http, long, last, options={"num_ctx": 2048}) == "The colour is red."
    status, error = _error(http, long, last, truncate=False, options={"num_ctx": 2048})
    assert (status, "exceed_context_size_error" in error) == (400, True)


@pytest.mark.parametrize("words", [1, 600, 4000])
def test_tokens_are_counted_with_images_in_every_place_whether_or_not_they_fit(http: httpx2.Client, words: int) -> None:
    text = "word " * words
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": base64_of(_PNG)}}
    contents = [[{"type": "text", "text": text}], [image, {"type": "text", "text": text}, image]]
    counts = []
    for content in contents:
        asked = {"model": "see", "messages": [{"role": "user", "content": content}], "num_ctx": 2048}
        counts.append(http.post("/v1/messages/count_tokens", json=asked).json()["input_tokens"])
    assert counts[1] - counts[0] == 2 * 16


def test_a_request_that_is_left_gives_its_slot_back(http: httpx2.Client) -> None:
    endless = _body(_said("Repeat la forever.", file(_RED)), stream=True, options={"num_predict": -1})
    left = [threading.Thread(target=_leave, args=(http, endless)) for _ in range(6)]
    for one in left:
        one.start()
    for one in left:
        one.join(DEADLINE)
    assert _content(http, _said("What colour is it?", file(_RED))) == "The colour is red."


def _leave(http: httpx2.Client, body: dict[str, Any]) -> None:
    with http.stream("POST", "/api/chat", json=body) as answer:
        next(answer.iter_lines())


_PNG: Final = file(_RED)


@pytest.mark.parametrize(
    ("files", "error"),
    [
        ([_PNG, b""], "image 2 of 2 is empty"),
        ([b"hello"], "the image is neither PNG, JPEG, WebP, GIF nor BMP"),
        ([b"<svg xmlns='http://www.w3.org/2000/svg'/>"], "the image is neither PNG"),
        ([b"%PDF-1.7\n"], "the image is neither PNG"),
        ([b"\x00\x00\x00\x0cjP  \r\n\x87\n"], "the image is neither PNG"),
        ([b"II*\x00\x08\x00\x00\x00"], "the image is neither PNG"),
        ([_PNG[:-40]], "the image is a damaged or incomplete PNG file"),
        ([_PNG, _PNG, file(_BLUE, "JPEG")[:-300]], "image 3 of 3 is a damaged or incomplete JPEG file"),
        ([file(_BLUE, "WEBP")[:50]], "the image is a damaged or incomplete WEBP file"),
        ([file(Image.new("L", (65_500, 1)), "JPEG")], "the image has 65500 x 1 pixels: no side may be more than 200"),
        ([file(Image.new("1", (30_000, 30_000)))], "the image has 30000 x 30000 pixels: the limit is 64 million"),
        ([file(Image.new("1", (8_500, 8_500)))], "the image has 8500 x 8500 pixels: the limit is 64 million"),
        ([file(Image.new("1", (7_900, 7_900)))] * 3, "image 3 of 3 has 7900 x 7900 pixels, and all together may have"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else f"{len(value)}",
)
def test_a_hostile_image_is_named_and_hurts_nobody(http: httpx2.Client, files: list[bytes], error: str) -> None:
    """DOS-14."""
    status, said = _error(http, _said("What is it?", *files))
    assert (status, said.startswith(f"Failed to load image or audio file: {error}")) == (400, True), said
    assert _content(http, _said("What colour is it?", file(_RED))) == "The colour is red."


def test_a_hundred_hostile_images_at_once_hurt_nobody(http: httpx2.Client) -> None:
    """DOS-14."""
    hostile = [file(Image.new("1", (30_000, 30_000))), _PNG[:-40], file(_BLUE, "WEBP")[:50], b"<svg/>", b""]
    with ThreadPoolExecutor(100) as threads:
        bad = threads.map(lambda number: _error(http, _said("What is it?", hostile[number % 5])), range(100))
        good = threads.map(lambda _: _content(http, _said("What colour is it?", file(_RED))), range(5))
        assert {status for status, _ in bad} == {400}
        assert set(good) == {"The colour is red."}


@pytest.mark.parametrize("side", [1, 2, 4000])
def test_every_size_within_the_limits_is_seen(http: httpx2.Client, side: int) -> None:
    """DOS-14."""
    assert _content(http, _said("What colour is it?", file(Image.new("RGB", (side, side), (220, 20, 20)))))


def test_a_model_without_eyes_says_so_before_it_is_loaded(http: httpx2.Client) -> None:
    status, error = _error(http, _said("What is it?", _PNG), model="power-tiny")
    hint = "hint: if this is unexpected, you may need to provide the mmproj"
    said = f'"power-tiny" does not support images: image input is not supported - {hint}'
    assert (status, error) == (400, said)
    body = {"model": "power-tiny", "prompt": "What is it?", "images": [base64_of(_PNG)], "stream": False}
    answer = http.post("/api/generate", json=body)
    why = "Multimodal data provided, but model does not support multimodal requests."
    assert (answer.status_code, answer.json()["error"]) == (400, f'"power-tiny" does not support images: {why}')
    assert "power-tiny:latest" not in [model["name"] for model in http.get("/api/ps").json()["models"]]


def test_sound_is_for_models_that_hear(http: httpx2.Client) -> None:
    status, error = _error(http, _said("What is it?", b"RIFF\x24\0\0\0WAVEfmt "))
    assert (status, error) == (400, '"see" does not support audio')


def test_a_projector_that_is_none_is_a_load_that_fails(http: httpx2.Client) -> None:
    """GGUF-10."""
    status, error = _error(http, _said("What is it?", _PNG), model="blind")
    assert status == 500
    assert "CLIP" in error
    assert _content(http, _said("What colour is it?", file(_RED))) == "The colour is red."


def test_a_projector_that_is_not_whole_is_no_model(http: httpx2.Client) -> None:
    """GGUF-10."""
    status, error = _error(http, _said("What is it?", _PNG), model="cut")
    assert (status, "exceeds file size" in error) == (400, True)


def test_show_tells_of_the_eyes(http: httpx2.Client) -> None:
    shown = http.post("/api/show", json={"model": "see"}).json()
    assert "vision" in shown["capabilities"]
    assert shown["projector_info"]["clip.has_vision_encoder"] is True
    assert shown["modelfile"].count("\nFROM /") == 2
