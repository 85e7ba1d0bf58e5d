"""Drafting: which model has who guess its text ahead, by its Modelfile and by the operator, and what came of it."""

import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from a3s_power.core.errors import BadConfig, BadFile, ModelNotFound
from a3s_power.core.model import Facts, Model
from a3s_power.core.names import ModelName
from a3s_power.core.usage import Usage
from a3s_power.engines.llamacpp_params import MOST_GUESSED
from a3s_power.gguf.facts import facts
from a3s_power.gguf.reader import read_header
from a3s_power.log import get_logger
from a3s_power.scheduler import drafts
from a3s_power.scheduler.drafts import NO_DRAFT, Drafting
from a3s_power.scheduler.need import Need
from a3s_power.scheduler.remembered import Remembered

log = get_logger(__name__)

NGRAM: Final = "ngram"
NONE: Final = "none"

Said = Mapping[ModelName | None, str]
"""Who guesses for a model, and under `None` for all others: the name of a model, `ngram` or `none`."""


def said(words: Iterable[str]) -> dict[ModelName | None, str]:
    """Read `ngram`, and `MODEL=DRAFT_MODEL`, `MODEL=ngram` or `MODEL=none`. Raises BadConfig and InvalidName."""
    found: dict[ModelName | None, str] = {}
    for word in words:
        name, _, guesser = word.rpartition("=")
        if not guesser or (not name and guesser not in (NGRAM, NONE)):
            raise BadConfig(f"drafts: {word!r} is not of the form MODEL=DRAFT_MODEL, MODEL=ngram, MODEL=none or ngram")
        if guesser not in (NGRAM, NONE):
            ModelName.parse(guesser)
        found[ModelName.parse(name) if name else None] = guesser
    return found


class _Counts(NamedTuple):
    """Tokens since the last verdict: said, guessed, and guessed right."""

    output: int = 0
    drafted: int = 0
    accepted: int = 0


class Drafts:
    """Who guesses ahead. `read` finds a draft model by its name; `file` remembers where guessing did not pay."""

    def __init__(self, words: Said, read: Callable[[ModelName], Model], file: Path | None = None) -> None:
        self._words = words
        self._read = read
        self._slow = Remembered(file, "speeds with guesses")
        self._counts: dict[str, _Counts] = {}
        self._facts: dict[str, Facts | str] = {}
        self._reading = threading.Lock()

    def reads(self, model: Model) -> bool:
        """Whether there are files to read to equip it; else it is equipped."""
        return bool(model.files.draft) or self._word(model) not in {"", NGRAM, NONE}

    def equipped(self, model: Model) -> Model:
        """The model with the draft model that the operator gives it, or without its own; reads files."""
        word, draft = self._word(model), model.files.draft
        if word == NONE:
            draft = ""
        elif word not in ("", NGRAM):
            draft = self._path(word)
        if draft:
            self._known(draft)
        return model if draft == model.files.draft else _with_draft(model, draft)

    def of(self, need: Need) -> Drafting:
        """Who guesses ahead for this need, of an equipped model."""
        draft, tokens = need.model.files.draft, need.options.draft_num_predict
        word = self._word(need.model)
        if need.embedding or tokens == 0 or not (draft or word == NGRAM):
            return NO_DRAFT
        found = self._by_model(need, draft, _guessed(tokens, drafts.DRAFT_TOKENS)) if draft else NO_DRAFT
        return found if found.kind or word != NGRAM else self._by_ngram(need, _guessed(tokens, drafts.NGRAM_TOKENS))

    def measured(self, need: Need, cost: float, usage: Usage) -> None:
        """An answer was made so, where a guess costs so many steps. Where that does not pay it is not done any more."""
        drafting = need.drafting
        before = self._counts.get(drafting.key, _Counts())
        drafted, accepted = before.drafted + usage.draft_tokens, before.accepted + usage.accepted_tokens
        counts = _Counts(before.output + usage.output_tokens, drafted, accepted)
        self._counts[drafting.key] = counts
        if not drafts.is_known(counts.output, drafted):
            return
        del self._counts[drafting.key]
        speed = drafts.speed(*counts, cost=cost, size=drafting.size)
        log.debug("guessed ahead", model=need.model.name, guessed=drafted, right=accepted, cost=cost, speed=speed)
        if speed < drafts.NO_GAIN:
            log.warning(
                "guessing ahead did not pay and ends with the next load",
                model=need.model.name,
                right=f"{accepted}/{drafted}",
                speed=speed,
            )
            self._slow.learn(drafting.key, speed)
            # A few kilobytes, once in the life of a model.
            self._slow.save()

    def _known(self, draft: str) -> None:
        with self._reading:
            # What could not be read may be there by now.
            if not isinstance(self._facts.get(draft), Facts):
                self._facts[draft] = _facts(draft)

    def _word(self, model: Model) -> str:
        return self._words.get(model.name, self._words.get(None, ""))

    def _path(self, name: str) -> str:
        """Where the draft model of this name is; the name itself, which is no path, where there is none."""
        try:
            return self._read(ModelName.parse(name)).files.weights or name
        except (ModelNotFound, BadFile):
            return name

    def _by_model(self, need: Need, draft: str, tokens: int) -> Drafting:
        found = self._facts[draft]
        if isinstance(found, str):
            return Drafting(note=found)
        key = drafts.key_of(need.model.weights, Path(draft).name, tokens, need.engine)
        return drafts.by_model(need.model.facts, found, key=key, tokens=tokens, seen=self._slow.get(key))

    def _by_ngram(self, need: Need, tokens: int) -> Drafting:
        key = drafts.key_of(need.model.weights, NGRAM, tokens, need.engine)
        return drafts.by_ngram(key=key, tokens=tokens, seen=self._slow.get(key))


def _with_draft(model: Model, draft: str) -> Model:
    return msgspec.structs.replace(model, files=msgspec.structs.replace(model.files, draft=draft))


def _guessed(asked: int | None, usual: int) -> int:
    return min(asked, MOST_GUESSED) if asked is not None and asked > 0 else usual


def _facts(draft: str) -> Facts | str:
    """What a draft model says of itself, or why it cannot be used."""
    try:
        return facts(read_header(draft))
    except FileNotFoundError:
        return f"draft model not used: there is no {draft}"
    except (OSError, BadFile) as error:
        return f"draft model not used: it cannot be read: {error}"
