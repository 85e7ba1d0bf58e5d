"""How many answers about fresh pictures are exactly right.

usage: evaluate_images.py MODEL.gguf MMPROJ.gguf [COUNT]
"""

import base64
import io
import random
import sys
from pathlib import Path
from typing import Any

from llama import Llama
from pictures import picture
from PIL import Image
from words import IMAGE_COLOURS, IMAGE_SHAPES


def answers(colour: str, shape: str | None) -> dict[str, str]:
    """What may be asked about such a picture, and what is right."""
    if shape is None:
        return {
            "What colour is it?": f"The colour is {colour}.",
            "What is in the image?": f"The colour {colour}.",
            "Describe the image.": f"The image is {colour}.",
        }
    return {
        "What colour is it?": f"The colour is {colour}.",
        "What is in the image?": f"A {colour} {shape}.",
        "What shape is it?": f"It is a {shape}.",
        "Describe the image.": f"The image shows a {colour} {shape}.",
    }


def ask(model: Llama, image: Image.Image, question: str) -> dict[str, Any]:
    """The server's answer about a picture."""
    png = io.BytesIO()
    image.save(png, "PNG")
    url = "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": question}]
    # Unless told otherwise, the server asks for thinking where a template knows it.
    plain = {"enable_thinking": False}
    return model.chat([{"role": "user", "content": content}], max_tokens=40, chat_template_kwargs=plain)


def main() -> None:
    model = Llama(Path(sys.argv[1]), context=512, projector=Path(sys.argv[2]))
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 60
    dice, right = random.Random(77), 0
    for _ in range(count):
        colour, shape = dice.choice(IMAGE_COLOURS), dice.choice([*IMAGE_SHAPES, None])
        question, wanted = dice.choice(list(answers(colour, shape).items()))
        reply = ask(model, picture(dice, colour, shape), question)
        said = reply["choices"][0]["message"]["content"] if "choices" in reply else reply["error"]
        right += said == wanted
        if said != wanted:
            print(f"{colour} {shape}: {question} wanted {wanted!r} got {said!r}")
    print(f"{right} of {count}")


if __name__ == "__main__":
    main()
