"""Config: every setting once, with its variable and its help; flags win over the environment, that over the file."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from a3s_power.core import declared as declares
from a3s_power.core.addresses import DEFAULT_HOST, DEFAULT_PORT, Address, read_address
from a3s_power.core.declared import (
    Declared,
    Setting,
    complaint,
    to_level,
    to_lower,
    to_patience,
    to_seconds,
    to_share,
    to_slots,
    to_words,
)
from a3s_power.core.errors import BadConfig, PowerError

Count = Annotated[int, msgspec.Meta(ge=0)]
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Slots = Annotated[int, msgspec.Meta(ge=-1)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Words = tuple[str, ...]
Cache = Literal["f16", "bf16", "f32", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"]
LogFormat = Literal["text", "json"]
Prefer = Literal["speed", "memory"]


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    """How layers go to graphics processors."""

    gpu_layers: Annotated[int, Setting("OLLAMA_NUM_GPU", "Layers on graphics processors; -1: all that fit")] = -1
    main_gpu: Annotated[Count | None, Setting("", "The graphics processor for what is not split")] = None
    tensor_split: Annotated[tuple[float, ...], Setting("", "Share of the model for each graphics processor")] = ()
    devices: Annotated[
        Words,
        Setting("A3S_POWER_DEVICES", "Graphics processors to use, by number, name or UUID; none: all", to_words),
    ] = ()
    require: Annotated[
        bool, Setting("A3S_POWER_REQUIRE_GPU", "Refuse a model that would not run on a graphics processor")
    ] = False
    reserve: Annotated[Count, Setting("OLLAMA_GPU_OVERHEAD", "Bytes left free on each graphics processor")] = 0
    models: Annotated[
        Words,
        Setting(
            "A3S_POWER_GPU_MODELS",
            "All that for single models, as MODEL=WORD+WORD: devices, require, spread, pack, reserve:BYTES",
            to_words,
        ),
    ] = ()


class LlamaServer(msgspec.Struct, frozen=True, kw_only=True):
    """A llama-server of the operator's own."""

    path: Annotated[str, Setting("A3S_POWER_LLAMA_SERVER", "Path of a llama-server of your own, to run models")] = ""
    args: Annotated[Words, Setting("", "Flags that llama-server gets beside those of the settings")] = ()


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The settings in force. Times are in seconds; a count of 0 means automatic."""

    host: Annotated[str, Setting("OLLAMA_HOST", "Address of the server: a host, host:port or URL")] = DEFAULT_HOST
    port: Annotated[Port, Setting("", "Port of the server; 0: any free one")] = DEFAULT_PORT
    data_dir: Annotated[str, Setting("", "Base folder, where models and logs live")] = ""
    models: Annotated[str, Setting("OLLAMA_MODELS", "Models folder; one made by Ollama works as it is")] = ""
    keep_alive: Annotated[
        float,
        Setting("OLLAMA_KEEP_ALIVE", "How long an idle model stays in memory; 0: not at all, -1: for ever", to_seconds),
    ] = 300.0
    load_timeout: Annotated[
        float, Setting("OLLAMA_LOAD_TIMEOUT", "How long a load may go without progress; 0: for ever", to_patience)
    ] = 300.0
    stall_timeout: Annotated[
        float,
        Setting("A3S_POWER_STALL_TIMEOUT", "How long an answer may go without progress; 0: for ever", to_patience),
    ] = 300.0
    load_cooldown: Annotated[
        float,
        Setting("MODEL_LOAD_COOLDOWN", "How long /chat does not repeat a load that failed; 0: not at all", to_patience),
    ] = 300.0
    context_length: Annotated[Count, Setting("OLLAMA_CONTEXT_LENGTH", "Tokens of context unless a request says")] = 0
    context_share: Annotated[
        Share, Setting("A3S_POWER_CONTEXT_SHARE", "Share of the free memory for an automatic context's cache", to_share)
    ] = 0.25
    contexts: Annotated[
        Words, Setting("A3S_POWER_CONTEXTS", "Tokens of context of single models, as MODEL=TOKENS", to_words)
    ] = ()
    pins: Annotated[
        Words, Setting("A3S_POWER_PINS", "Models that stay in memory and leave for no other", to_words)
    ] = ()
    preload: Annotated[Words, Setting("A3S_POWER_PRELOAD", "Models to load when the server starts", to_words)] = ()
    load_options: Annotated[
        Words,
        Setting("A3S_POWER_LOAD_OPTIONS", "fixed: no request changes how models are loaded; or MODEL=fixed", to_words),
    ] = ()
    drafts: Annotated[
        Words,
        Setting(
            "A3S_POWER_DRAFTS",
            "Who guesses a model's text ahead, as MODEL=DRAFT_MODEL or MODEL=ngram; or ngram",
            to_words,
        ),
    ] = ()
    num_parallel: Annotated[
        Slots,
        Setting("OLLAMA_NUM_PARALLEL", "Requests that one model answers at once; auto: as memory allows", to_slots),
    ] = 0
    max_loaded_models: Annotated[
        Count, Setting("OLLAMA_MAX_LOADED_MODELS MAX_CACHE_MODELS", "Models kept in memory at once")
    ] = 0
    max_queue: Annotated[Count, Setting("OLLAMA_MAX_QUEUE", "Requests that may wait for a model")] = 512
    weights: Annotated[
        Words, Setting("A3S_POWER_WEIGHTS", "Turns a client takes for one of another's, as ADDRESS=N", to_words)
    ] = ()
    origins: Annotated[Words, Setting("OLLAMA_ORIGINS", "More web origins that may call the server", to_words)] = ()
    allowed_hosts: Annotated[
        Words, Setting("A3S_POWER_ALLOWED_HOSTS", "More host names under which the server answers", to_words)
    ] = ()
    store_responses: Annotated[
        Count, Setting("A3S_POWER_STORE_RESPONSES", "Answers of /v1/responses kept to go on from; 0: none")
    ] = 0
    store_responses_bytes: Annotated[
        Count, Setting("A3S_POWER_STORE_RESPONSES_BYTES", "Bytes that all kept responses may take")
    ] = 1_000_000_000
    store_responses_age: Annotated[
        float,
        Setting("A3S_POWER_STORE_RESPONSES_AGE", "How long an unused response is kept; -1: for ever", to_seconds),
    ] = 2_592_000.0
    tmpdir: Annotated[str, Setting("OLLAMA_TMPDIR", "Folder for temporary files; unset: the system's")] = ""
    offline: Annotated[bool, Setting("A3S_POWER_OFFLINE", "Never open a connection to another machine")] = False
    mirrors: Annotated[
        Words, Setting("A3S_POWER_MIRRORS", "Addresses to ask before a registry, as HOST=URL", to_words)
    ] = ()
    logins: Annotated[
        Words, Setting("A3S_POWER_LOGINS", "What registries want to know, as HOST=NAME:PASSWORD", to_words)
    ] = ()
    bandwidth: Annotated[Count, Setting("A3S_POWER_BANDWIDTH", "Bytes a second for all pulls; 0: no limit")] = 0
    noprune: Annotated[bool, Setting("OLLAMA_NOPRUNE", "Keep blobs that no model uses")] = False
    flash_attention: Annotated[
        bool | None, Setting("OLLAMA_FLASH_ATTENTION", "Flash attention on or off; unset: where it helps")
    ] = None
    calibrate: Annotated[
        bool, Setting("A3S_POWER_CALIBRATE", "Measure an engine's settings here, while nobody is answered")
    ] = True
    prefer: Annotated[
        Prefer, Setting("A3S_POWER_PREFER", "What counts where settings are about equal: speed or memory", to_lower)
    ] = "speed"
    kv_cache_type: Annotated[Cache, Setting("OLLAMA_KV_CACHE_TYPE", "Type of the key-value cache", to_lower)] = "f16"
    go_template: Annotated[
        bool | None,
        Setting("OLLAMA_GO_TEMPLATE", "A model's TEMPLATE rather than its file's own; unset: the one that can do more"),
    ] = None
    prompt_cache: Annotated[
        Slots,
        Setting("A3S_POWER_PROMPT_CACHE", "MiB of memory for a model's late prompts; auto: as there is", to_slots),
    ] = -1
    prompt_cache_disk: Annotated[
        Count, Setting("A3S_POWER_PROMPT_CACHE_DISK", "Bytes of disk for prompts of models that left memory; 0: none")
    ] = 0
    num_thread: Annotated[Count, Setting("", "Threads that generate")] = 0
    use_mlock: Annotated[bool, Setting("", "Lock weights in memory")] = False
    engine: Annotated[
        str, Setting("A3S_POWER_ENGINE", "Engine, by its name in `engine list`; unset: as `engine use` chose")
    ] = ""
    sched_spread: Annotated[bool, Setting("OLLAMA_SCHED_SPREAD", "Spread each model over all graphics processors")] = (
        False
    )
    gpu: Gpu = Gpu()
    llama_server: LlamaServer = LlamaServer()
    debug: Annotated[
        int, Setting("OLLAMA_DEBUG", "How much is logged; 1: debug, 2: trace, -1: warnings, -2: errors only", to_level)
    ] = 0
    log_format: Annotated[LogFormat, Setting("A3S_POWER_LOG_FORMAT", "Form of the log: text or json", to_lower)] = (
        "text"
    )
    api_key: Annotated[str, Setting("OLLAMA_API_KEY", "Key that commands send to the server")] = ""
    scheme: str = "http"
    prefix: str = ""

    @property
    def address(self) -> Address:
        """Where the server listens, and where commands look for it."""
        return Address(self.scheme, self.host, self.port, self.prefix)


class Loaded(msgspec.Struct, frozen=True):
    """A config, where each of its values comes from, and what was ignored, by variable.

    Settings are named as in the file, those of a table with a dot: `gpu.main_gpu`. One without an origin is a default.
    """

    config: Config
    origins: dict[str, str]
    warnings: dict[str, str]


_TABLES: Final = {"gpu": Gpu, "llama_server": LlamaServer}

SECRETS: Final = frozenset({"api_key", "logins"})
"""Settings whose values are never shown."""

NOT_YET: Final = (
    "OLLAMA_DEBUG_LOG_REQUESTS",
    "OLLAMA_IGPU_ENABLE",
    "OLLAMA_LLM_LIBRARY",
    "OLLAMA_MAX_TRANSFER_STREAMS",
    "OLLAMA_REMOTES",
    "OLLAMA_VULKAN",
    "MODEL_Q4_THRESHOLD_BYTES",
)
"""Variables that others use and this version has nothing for: accepted with a warning."""

_HEADER = re.compile(r"\s*\[+\s*([^\]\s]+)\s*\]")
_KEY = re.compile(r"([^=#]+)=")


def declared() -> Iterator[Declared]:
    """Every setting, in the order of the list above."""
    return declares.declared(Config)


def load(file: Path, environ: Mapping[str, str] | None = None, flags: Mapping[str, object] | None = None) -> Loaded:
    """Read all settings. `flags` are by setting name; those that are `None` were not given.

    Raises:
        BadConfig: a file or flag that holds an unknown setting or an unusable value; an unusable variable is a warning.
    """
    settings = {one.name: one for one in declared()}
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    warnings: dict[str, str] = {}
    for layer in (
        _from_file(file, settings),
        _from_environment(os.environ if environ is None else environ, settings, warnings),
        _from_flags(flags or {}, settings),
    ):
        said = _with_address(layer, warnings)
        values |= {name: value for name, (value, _) in said.items()}
        origins |= {name: origin for name, (_, origin) in said.items()}
    return Loaded(_config(values), origins, warnings)


Layer = dict[str, tuple[object, str]]
"""Value and origin of each setting that one place says."""


def _with_address(layer: Layer, warnings: dict[str, str]) -> Layer:
    """The layer with its `host` taken apart: a host may hold a scheme, a port and a path."""
    if "host" not in layer:
        return layer
    text, origin = layer["host"]
    said = read_address(str(text))
    if said.problem:
        if origin != "OLLAMA_HOST":
            raise BadConfig(f"{origin}: {said.problem.partition(',')[0]}")
        warnings[origin] = said.problem
    parts = {"host": said.host, "scheme": said.scheme, "prefix": said.prefix, "port": said.port}
    return {name: (part, origin) for name, part in parts.items() if part is not None} | {
        name: value for name, value in layer.items() if name != "host"
    }


def _config(values: Mapping[str, object]) -> Config:
    tables: dict[str, dict[str, object]] = {table: {} for table in ("", *_TABLES)}
    for name, value in values.items():
        table, _, key = name.rpartition(".")
        tables[table][key] = value
    fields: dict[str, Any] = tables.pop("")
    return Config(**fields, **{table: msgspec.convert(tables[table], kind) for table, kind in _TABLES.items()})


def _from_environment(environ: Mapping[str, str], settings: Mapping[str, Declared], warnings: dict[str, str]) -> Layer:
    """What variables say, read as forgivingly as Ollama reads them: an unusable one is a warning and says nothing."""
    layer: Layer = {}
    texts = {name: text.strip().strip("\"'") for name, text in environ.items()}
    for one in settings.values():
        variable = next((name for name in one.setting.names if texts.get(name)), None)
        if variable is None:
            continue
        try:
            layer[one.name] = (one.from_text(texts[variable]), variable)
        except (ValueError, PowerError, msgspec.ValidationError) as error:
            warnings[variable] = f"ignored, {complaint(one, error)}"
    warnings |= {name: "has no effect in this version" for name in NOT_YET if texts.get(name)}
    return layer


def _from_flags(flags: Mapping[str, object], settings: Mapping[str, Declared]) -> Layer:
    layer: Layer = {}
    for name, value in flags.items():
        origin = f"--{name.replace('_', '-')}"
        try:
            if value is not None:
                layer[name] = (settings[name].from_file(value), origin)
        except (ValueError, PowerError, msgspec.ValidationError) as error:
            raise BadConfig(f"{origin}: {complaint(settings[name], error)}") from error
    return layer


def _from_file(file: Path, settings: Mapping[str, Declared]) -> Layer:
    try:
        text = file.read_text("utf-8")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise BadConfig(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadConfig(f"{file}: {error}") from error
    import tomllib  # noqa: PLC0415 -- most commands of most users start without a file

    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadConfig(f"{file}: {error}") from error
    layer: Layer = {}
    for name, value in _flat(tables):
        where = f"{file}:{_line(text, name)}"
        if name not in settings:
            raise BadConfig(f"{where}: unknown setting `{name}`{_nearest(name, settings)}")
        layer[name] = (_from_file_value(settings[name], value, where), where)
    return layer


def _from_file_value(one: Declared, value: object, where: str) -> object:
    try:
        return one.from_file(value)
    except (ValueError, PowerError, msgspec.ValidationError) as error:
        raise BadConfig(f"{where}: {complaint(one, error)} - at `{one.name}`") from error


def _flat(tables: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    for name, value in tables.items():
        if name in _TABLES and isinstance(value, dict):
            yield from ((f"{name}.{key}", inner) for key, inner in value.items())
        else:
            yield name, value


def _nearest(name: str, settings: Mapping[str, Declared]) -> str:
    import difflib  # noqa: PLC0415 -- only ever on the way to an error

    near = difflib.get_close_matches(name, settings, n=1)
    return f", did you mean `{near[0]}`?" if near else ""


def _line(text: str, name: str) -> int:
    """The line on which the file says this setting: the first that holds its key, or the table it stands in."""
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = f"{header[1]}."
            if header[1] == name:
                return number
        elif key := _KEY.match(line):
            path = table + re.sub(r"[\s\"']", "", key[1])
            if path == name or name.startswith(f"{path}."):
                return number
    return 1
