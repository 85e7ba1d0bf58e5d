"""Record what Transformers makes of the chat templates that the tests keep: `python tools/chat_templates.py`.

Needs `transformers`, which nothing else of this repository does. The templates are written in the styles of published
models; the conversations beside them go through each, and what comes out, or why nothing does, is kept.
"""

import json
from pathlib import Path
from typing import Any, Final

from jinja2 import TemplateError
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

GOLDEN: Final = Path(__file__).resolve().parents[1] / "tests" / "conformance" / "templates" / "golden"

SPECIAL: Final = {"bos_token": "<s>", "eos_token": "</s>"}


def main() -> None:
    """Write `recorded.json` anew."""
    tools = json.loads((GOLDEN / "tools.json").read_text(encoding="utf-8"))
    conversations = json.loads((GOLDEN / "conversations.json").read_text(encoding="utf-8"))
    recorded = {
        path.stem: {
            name: _rendered(path.read_text(encoding="utf-8"), case, tools) for name, case in conversations.items()
        }
        for path in sorted(GOLDEN.glob("*.jinja"))
        if "strftime_now" not in path.read_text(encoding="utf-8")
    }
    text = json.dumps(recorded, ensure_ascii=False, indent=1)
    (GOLDEN / "recorded.json").write_text(f"{text}\n", encoding="utf-8")


def _rendered(template: str, case: dict[str, Any], tools: dict[str, Any]) -> dict[str, str]:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"<s>": 0, "</s>": 1})), **SPECIAL)
    values = {"add_generation_prompt": True, **case.get("values", {})}
    offered = [tools[name] for name in case.get("tools", ())] or None
    try:
        text = tokenizer.apply_chat_template(
            case["messages"], tools=offered, chat_template=template, tokenize=False, **values
        )
    except TemplateError as error:
        return {"refused": str(error)}
    except (TypeError, ValueError, LookupError, RecursionError) as error:
        return {"fails": type(error).__name__}
    return {"prompt": text}


if __name__ == "__main__":
    main()
