"""Records what Transformers makes of small models of every family that can be converted, for the tests.

    python tools/conversions.py tokenizers     the tokenizers, trained on this repository's own texts
    python tools/conversions.py models [NAME]  shapes, tokens and log-probabilities, with those tokenizers

Needs torch, transformers, tokenizers and sentencepiece, none of which the project needs otherwise; run it from the
repository's root with PYTHONPATH=.
"""

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec
import sentencepiece
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from tests import oracle
from tests.conversions import RECORDED, TOKENIZERS, Recorded, write_folder

REPOSITORY: Final = Path(__file__).resolve().parents[1]
UNKNOWN: Final = "<unk>"

LLAMA3: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEKKEN: Final = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2: Final = LLAMA3.replace("{1,3}", "")


def texts() -> Iterator[str]:
    """What the tokenizers learn from: also numbers, and ends of paragraphs, which ways of splitting differ in."""
    yield from [*["1234 said: 12\n\n"] * 200, *["123:\n\n"] * 200]
    for path in sorted((REPOSITORY / "docs").glob("*.md")):
        yield from path.read_text(encoding="utf-8").splitlines()


def write(folder: Path, **files: object) -> None:
    """Files of JSON; `__` in a name stands for a full stop."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")))


def bytes_tokenizer() -> None:
    """Byte-level BPE with the way of Llama 3; models change it to theirs."""
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(LLAMA3), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=340,
        special_tokens=["<|begin|>", "<|end|>", "<|pad|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(texts(), trainer)
    tokenizer.add_tokens([AddedToken("<tool>", normalized=False)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin|> $A", special_tokens=[("<|begin|>", tokenizer.token_to_id("<|begin|>"))]
    )
    write(
        TOKENIZERS / "bytes",
        tokenizer__json=json.loads(tokenizer.to_str()),
        tokenizer_config__json={
            "bos_token": "<|begin|>",
            "eos_token": {"content": "<|end|>", "special": True},
            "pad_token": "<|pad|>",
        },
    )


def pieces_tokenizer() -> None:
    """SentencePiece of merges, both as it writes it and as the tokenizer.json that Transformers makes of it."""
    folder = TOKENIZERS / "pieces"
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=texts(),
        model_writer=model,
        vocab_size=400,
        model_type="bpe",
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        character_coverage=0.98,
        user_defined_symbols=["\u2581\u2581\u2581"],
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    loaded = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    vocab = {loaded.id_to_piece(number): number for number in range(loaded.vocab_size())}
    merges = [
        (loaded.get_score(number), piece[:at], piece[at:])
        for piece, number in vocab.items()
        for at in range(1, len(piece))
        if piece[:at] in vocab and piece[at:] in vocab and not loaded.is_control(number)
    ]
    merges.sort(key=lambda merge: -merge[0])
    tokenizer = Tokenizer(
        models.BPE(vocab, [merge[1:] for merge in merges], unk_token=UNKNOWN, byte_fallback=True, fuse_unk=True)
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.add_special_tokens(
        [AddedToken(text, special=True, normalized=False) for text in ("<unk>", "<s>", "</s>")]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", vocab["<s>"])])
    write(
        folder,
        tokenizer__json=json.loads(tokenizer.to_str()),
        tokenizer_config__json={
            "bos_token": "<s>",
            "eos_token": "</s>",
            "unk_token": UNKNOWN,
            "add_bos_token": True,
            "chat_template": [
                {"name": "default", "template": "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}"},
                {"name": "tools", "template": "{{ tools }}"},
            ],
        },
    )


def words_tokenizer() -> None:
    """WordPiece, as BERT has it."""
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token=specials[1]))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=specials, limit_alphabet=80)
    tokenizer.train_from_iterator(texts(), trainer)
    ends = [(text, tokenizer.token_to_id(text)) for text in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    config = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    write(TOKENIZERS / "words", tokenizer__json=json.loads(tokenizer.to_str()), tokenizer_config__json=config)


TEXT: Final = "Models are files, and 1234 of them aren't small:\n\nit's the server's job to say so."
CHAT: Final = "<|user|>\nHello there<|end|>\n<|assistant|>\nYes, the model"

SIZES: Final = {
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 1024,
}


def _split(expression: str) -> dict[str, Any]:
    split = {"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": False}
    plain = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return {"type": "Sequence", "pretokenizers": [split, plain]}


def _bytes(expression: str, *, whole_words: bool = False, bos: bool = False) -> dict[str, Any]:
    json_file: dict[str, Any] = {"pre_tokenizer": _split(expression), "model": {"ignore_merges": whole_words}}
    if not bos:
        json_file["post_processor"] = None
    return {"tokenizer.json": json_file}


DIGITS_FIRST: Final = {
    "type": "Sequence",
    "pretokenizers": [
        {"type": "Digits", "individual_digits": True},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    ],
}


def _added(number: int, text: str, *, strips: bool) -> dict[str, Any]:
    plain = {"single_word": False, "lstrip": False, "rstrip": strips, "normalized": False, "special": True}
    return {"id": number, "content": text, **plain}


PHI_ADDED: Final = [
    *(_added(number, text, strips=False) for number, text in enumerate(("<unk>", "<s>", "</s>"))),
    _added(400, "<|endoftext|>", strips=False),
    *(_added(401 + number, f"<|{name}|>", strips=True) for number, name in enumerate(("user", "end", "assistant"))),
]


def plans() -> dict[str, tuple[type, dict[str, Any], dict[str, Any]]]:
    """Each model: its class of settings, the settings, and what else is recorded of it."""
    t = transformers
    bytes_vocab, pieces_vocab, words_vocab = (len_of(name) for name in ("bytes", "pieces", "words"))
    llama3 = {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    factors = {"long_factor": [1.0, 1.5, 3.0, 6.0], "short_factor": [1.0, 1.1, 1.2, 1.3]}
    long = {"rope_type": "longrope", "rope_theta": 10000.0, **factors}
    phi = {
        **SIZES,
        "head_dim": None,
        "hidden_size": 64,
        "vocab_size": 410,
        "pad_token_id": 0,
        "tie_word_embeddings": False,
    }
    phi_files = {
        "tokenizer": "pieces",
        "changes": {"tokenizer.json": {"added_tokens": PHI_ADDED}},
        "text": CHAT,
    }
    return {
        "llama": (
            t.LlamaConfig,
            {**SIZES, "vocab_size": bytes_vocab, "rope_parameters": llama3, "attention_bias": True, "mlp_bias": True},
            {"tokenizer": "bytes", "changes": _bytes(LLAMA3, whole_words=True, bos=True), "dtype": "BF16", "shards": 2},
        ),
        "llama-linear": (
            t.LlamaConfig,
            {**SIZES, "vocab_size": pieces_vocab, "tie_word_embeddings": True}
            | {"rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}},
            {"tokenizer": "pieces", "without": ["tokenizer.model"]},
        ),
        "mistral": (
            t.MistralConfig,
            {**SIZES, "vocab_size": pieces_vocab, "sliding_window": None},
            {"tokenizer": "pieces", "without": ["tokenizer.json"], "dtype": "F16"},
        ),
        "mistral-nemo": (
            t.MistralConfig,
            {**SIZES, "vocab_size": bytes_vocab, "sliding_window": None, "num_key_value_heads": 1},
            {"tokenizer": "bytes", "changes": _bytes(TEKKEN, whole_words=True, bos=True)},
        ),
        "qwen2": (
            t.Qwen2Config,
            {**SIZES, "vocab_size": bytes_vocab, "tie_word_embeddings": True}
            | {"rope_parameters": {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0}}
            | {"head_dim": None, "hidden_size": 64},
            {"tokenizer": "bytes", "changes": _bytes(QWEN2), "dtype": "BF16"},
        ),
        "qwen3": (
            t.Qwen3Config,
            {**SIZES, "vocab_size": bytes_vocab + 12},
            {"tokenizer": "bytes", "changes": _bytes(QWEN2)},
        ),
        "gemma2": (
            t.Gemma2Config,
            {**SIZES, "vocab_size": pieces_vocab, "sliding_window": 8, "query_pre_attn_scalar": 16},
            {"tokenizer": "pieces", "dtype": "BF16"},
        ),
        "gemma3": (
            t.Gemma3TextConfig,
            {**SIZES, "vocab_size": pieces_vocab, "sliding_window": 8, "query_pre_attn_scalar": 16}
            | {"num_hidden_layers": 3, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}
            | {
                "rope_parameters": {
                    "full_attention": {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0},
                    "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
                }
            },
            {"tokenizer": "pieces"},
        ),
        "phi3": (
            t.Phi3Config,
            {**phi, "original_max_position_embeddings": 16, "rope_parameters": {**long, "partial_rotary_factor": 0.5}},
            phi_files,
        ),
        "phi3-short": (
            t.Phi3Config,
            {**phi, "original_max_position_embeddings": 512, "rope_parameters": {**long, "partial_rotary_factor": 0.5}},
            {**phi_files, "dtype": "F16"},
        ),
        "granite": (
            t.GraniteConfig,
            {**SIZES, "head_dim": None, "hidden_size": 64, "vocab_size": bytes_vocab, "tie_word_embeddings": True}
            | {
                "embedding_multiplier": 3.0,
                "attention_multiplier": 0.4,
                "residual_multiplier": 0.5,
                "logits_scaling": 2.0,
            },
            {
                "tokenizer": "bytes",
                "changes": {"tokenizer.json": {"pre_tokenizer": DIGITS_FIRST, "post_processor": None}},
            },
        ),
        "bert": (
            t.BertConfig,
            {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
            | {"max_position_embeddings": 128, "vocab_size": words_vocab},
            {"tokenizer": "words", "context": 128},
        ),
    }


def len_of(tokenizer: str) -> int:
    """How many tokens a tokenizer has."""
    return Tokenizer.from_file(str(TOKENIZERS / tokenizer / "tokenizer.json")).get_vocab_size()


def record(name: str) -> Recorded:
    """One model, with what Transformers answers."""
    model = unanswered(name)
    with TemporaryDirectory() as scratch:
        return oracle.answered(write_folder(Path(scratch), model), model)


def unanswered(name: str) -> Recorded:
    """The model, whose tensors are what Transformers makes of the settings."""
    kind, settings, rest = plans()[name]
    config = kind(**{key: value for key, value in settings.items() if value is not None})
    auto = transformers.AutoModel if name == "bert" else transformers.AutoModelForCausalLM
    fresh = auto.from_config(config)
    shapes = {key: list(value.shape) for key, value in fresh.state_dict().items() if value.is_floating_point()}
    if config.tie_word_embeddings:
        shapes.pop("lm_head.weight", None)
    said = {**config.to_diff_dict(), "architectures": [type(fresh).__name__]}
    said.pop("transformers_version", None)
    return Recorded(**{"text": TEXT, **rest, "config": json.loads(json.dumps(said)), "shapes": shapes})


def main(what: str, *names: str) -> None:
    """Write the tokenizers, or the models."""
    if what == "tokenizers":
        for make in (bytes_tokenizer, pieces_tokenizer, words_tokenizer):
            make()
        return
    for name in names or plans():
        (RECORDED / f"{name}.json").write_bytes(
            msgspec.json.format(msgspec.json.encode(record(name)), indent=0) + b"\n"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
