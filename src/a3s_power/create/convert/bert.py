"""BERT: it writes no texts, and its tokens' vectors are put together to one for a text."""

import re
from typing import Final

from a3s_power.core.errors import BadFile
from a3s_power.create.convert.config import CONFIG, Config
from a3s_power.create.convert.family import Family, Keys, no_place
from a3s_power.create.convert.folder import Folder
from a3s_power.create.convert.pooling import MEAN, pooling
from a3s_power.create.convert.vocabulary import Vocabulary
from a3s_power.gguf.layout import ValueType
from a3s_power.gguf.writer import Typed

_UNNEEDED: Final = re.compile(r"embeddings\.position_ids|pooler\..*|cls\.(predictions|seq_relationship)\..*")
_OLD_ENDINGS: Final = {".gamma": ".weight", ".beta": ".bias"}


def _keys(config: Config, folder: Folder) -> Keys:
    if config.position_embedding_type != "absolute":
        raise BadFile(f"{CONFIG} asks for positions that are not absolute: llama.cpp has none for this architecture")
    way = pooling(folder)
    if way is None:
        folder.note("no file says how vectors are pooled: it will be their mean")
    return {
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.layer_norm_epsilon": Typed(ValueType.FLOAT32, config.layer_norm_eps),
        "attention.causal": False,
        "pooling_type": MEAN if way is None else way,
    }


def _general(config: Config, _: Vocabulary) -> Keys:
    return {"tokenizer.ggml.token_type_count": config.type_vocab_size}


def _name(name: str, _: Folder) -> str | None:
    name = name.removeprefix("bert.")
    if _UNNEEDED.fullmatch(name):
        return None
    if not name.startswith(("embeddings.", "encoder.")):
        raise no_place(name)
    for old, new in _OLD_ENDINGS.items():
        name = name.removesuffix(old) + new if name.endswith(old) else name
    return name


BERT: Final = Family(
    architecture="bert",
    classes=("BertModel", "BertForMaskedLM"),
    key_values=_keys,
    general=_general,
    name=_name,
    defaults={"max_position_embeddings": 512, "type_vocab_size": 2},
    activations=("gelu",),
    needed=("token_embd.weight", "position_embd.weight", "token_embd_norm.weight"),
)
