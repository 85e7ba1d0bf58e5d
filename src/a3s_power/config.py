"""Config: every setting once, with its variable and its help; flags win over the environment, that over the file."""

import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

import msgspec

from a3s_power.core.addresses import DEFAULT_HOST, DEFAULT_PORT, Address, read_address
from a3s_power.core.durations import keep_alive, keep_alive_setting
from a3s_power.core.errors import BadConfig, PowerError

Count = Annotated[int, msgspec.Meta(ge=0)]
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Slots = Annotated[int, msgspec.Meta(ge=-1)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Words = tuple[str, ...]
Cache = Literal["f16", "bf16", "f32", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"]
LogFormat = Literal["text", "json"]


class Setting(msgspec.Struct, frozen=True):
    """What is known of a setting beside its type: its environment variables, of which the first that is set counts.

    `read` makes the value from a text, or from what the file holds; it raises ValueError or a PowerError.
    """

    variables: str
    help: str
    read: Callable[[Any], object] | None = None

    @property
    def names(self) -> list[str]:
        """The variables, one by one."""
        return self.variables.split()


def _words(value: object) -> object:
    """A list, or a text with commas."""
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


def _seconds(value: object) -> object:
    return keep_alive_setting(value) if isinstance(value, str) else keep_alive(value)


def _patience(value: object) -> object:
    seconds = _seconds(value)
    return 0.0 if seconds == math.inf else seconds


def _level(value: object) -> object:
    """A level, or yes (1) or no (0)."""
    if isinstance(value, str):
        return int(_TRUTHS[value]) if value in _TRUTHS else int(value)
    return int(value) if isinstance(value, bool) else value


def _slots(value: object) -> object:
    """A number, or -1 for `auto`."""
    return -1 if value == "auto" else int(value) if isinstance(value, str) else value


def _share(value: object) -> object:
    return float(value) if isinstance(value, str) else value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    """How layers go to graphics processors."""

    gpu_layers: Annotated[int, Setting("OLLAMA_NUM_GPU", "Layers on graphics processors; -1: all that fit")] = -1
    main_gpu: Annotated[Count | None, Setting("", "The graphics processor for what is not split")] = None
    tensor_split: Annotated[tuple[float, ...], Setting("", "Share of the model for each graphics processor")] = ()


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The settings in force. Times are in seconds; a count of 0 means automatic."""

    host: Annotated[str, Setting("OLLAMA_HOST", "Address of the server: a host, host:port or URL")] = DEFAULT_HOST
    port: Annotated[Port, Setting("", "Port of the server; 0: any free one")] = DEFAULT_PORT
    data_dir: Annotated[str, Setting("", "Base folder, where models and logs live")] = ""
    models: Annotated[str, Setting("OLLAMA_MODELS", "Models folder; one made by Ollama works as it is")] = ""
    keep_alive: Annotated[
        float,
        Setting("OLLAMA_KEEP_ALIVE", "How long an idle model stays in memory; 0: not at all, -1: for ever", _seconds),
    ] = 300.0
    load_timeout: Annotated[
        float, Setting("OLLAMA_LOAD_TIMEOUT", "How long a load may go without progress; 0: for ever", _patience)
    ] = 300.0
    stall_timeout: Annotated[
        float,
        Setting("A3S_POWER_STALL_TIMEOUT", "How long an answer may go without progress; 0: for ever", _patience),
    ] = 300.0
    load_cooldown: Annotated[
        float,
        Setting("MODEL_LOAD_COOLDOWN", "How long /chat does not repeat a load that failed; 0: not at all", _patience),
    ] = 300.0
    context_length: Annotated[Count, Setting("OLLAMA_CONTEXT_LENGTH", "Tokens of context unless a request says")] = 0
    context_share: Annotated[
        Share, Setting("A3S_POWER_CONTEXT_SHARE", "Share of the free memory for an automatic context's cache", _share)
    ] = 0.25
    contexts: Annotated[
        Words, Setting("A3S_POWER_CONTEXTS", "Tokens of context of single models, as MODEL=TOKENS", _words)
    ] = ()
    num_parallel: Annotated[
        Slots,
        Setting("OLLAMA_NUM_PARALLEL", "Requests that one model answers at once; auto: as memory allows", _slots),
    ] = 0
    max_loaded_models: Annotated[
        Count, Setting("OLLAMA_MAX_LOADED_MODELS MAX_CACHE_MODELS", "Models kept in memory at once")
    ] = 0
    max_queue: Annotated[Count, Setting("OLLAMA_MAX_QUEUE", "Requests that may wait for a model")] = 512
    origins: Annotated[Words, Setting("OLLAMA_ORIGINS", "More web origins that may call the server", _words)] = ()
    allowed_hosts: Annotated[
        Words, Setting("A3S_POWER_ALLOWED_HOSTS", "More host names under which the server answers", _words)
    ] = ()
    store_responses: Annotated[
        Count, Setting("A3S_POWER_STORE_RESPONSES", "Answers of /v1/responses kept to go on from; 0: none")
    ] = 0
    store_responses_bytes: Annotated[
        Count, Setting("A3S_POWER_STORE_RESPONSES_BYTES", "Bytes that all kept responses may take")
    ] = 1_000_000_000
    store_responses_age: Annotated[
        float,
        Setting("A3S_POWER_STORE_RESPONSES_AGE", "How long an unused response is kept; -1: for ever", _seconds),
    ] = 2_592_000.0
    tmpdir: Annotated[str, Setting("OLLAMA_TMPDIR", "Folder for temporary files; unset: the system's")] = ""
    offline: Annotated[bool, Setting("A3S_POWER_OFFLINE", "Never open a connection to another machine")] = False
    mirrors: Annotated[
        Words, Setting("A3S_POWER_MIRRORS", "Addresses to ask before a registry, as HOST=URL", _words)
    ] = ()
    logins: Annotated[
        Words, Setting("A3S_POWER_LOGINS", "What registries want to know, as HOST=NAME:PASSWORD", _words)
    ] = ()
    bandwidth: Annotated[Count, Setting("A3S_POWER_BANDWIDTH", "Bytes a second for all pulls; 0: no limit")] = 0
    noprune: Annotated[bool, Setting("OLLAMA_NOPRUNE", "Keep blobs that no model uses")] = False
    flash_attention: Annotated[
        bool | None, Setting("OLLAMA_FLASH_ATTENTION", "Flash attention on or off; unset: where it helps")
    ] = None
    kv_cache_type: Annotated[Cache, Setting("OLLAMA_KV_CACHE_TYPE", "Type of the key-value cache", _lower)] = "f16"
    go_template: Annotated[
        bool | None,
        Setting("OLLAMA_GO_TEMPLATE", "A model's TEMPLATE rather than its file's own; unset: the one that can do more"),
    ] = None
    num_thread: Annotated[Count, Setting("", "Threads that generate")] = 0
    use_mlock: Annotated[bool, Setting("", "Lock weights in memory")] = False
    gpu: Gpu = Gpu()
    debug: Annotated[
        int, Setting("OLLAMA_DEBUG", "How much is logged; 1: debug, 2: trace, -1: warnings, -2: errors only", _level)
    ] = 0
    log_format: Annotated[LogFormat, Setting("A3S_POWER_LOG_FORMAT", "Form of the log: text or json", _lower)] = "text"
    api_key: Annotated[str, Setting("OLLAMA_API_KEY", "Key that commands send to the server")] = ""
    scheme: str = "http"
    prefix: str = ""

    @property
    def address(self) -> Address:
        """Where the server listens, and where commands look for it."""
        return Address(self.scheme, self.host, self.port, self.prefix)


class Loaded(msgspec.Struct, frozen=True):
    """A config, where each of its values comes from, and what was ignored, by variable or by line of the file.

    Settings are named as in the file, those of a table with a dot: `gpu.main_gpu`. One without an origin is a default.
    """

    config: Config
    origins: dict[str, str]
    warnings: dict[str, str]


SECRETS: Final = frozenset({"api_key", "logins"})
"""Settings whose values are never shown."""

NOT_YET: Final = {
    "OLLAMA_SCHED_SPREAD": "sched_spread",
    "OLLAMA_DEBUG_LOG_REQUESTS": "",
    "OLLAMA_GPU_OVERHEAD": "",
    "OLLAMA_IGPU_ENABLE": "",
    "OLLAMA_LLM_LIBRARY": "",
    "OLLAMA_MAX_TRANSFER_STREAMS": "",
    "OLLAMA_REMOTES": "",
    "OLLAMA_VULKAN": "",
    "MODEL_Q4_THRESHOLD_BYTES": "",
}
"""Variables, and their names in the file, that others use and this version has nothing for: accepted with a warning."""

_HEADER = re.compile(r"\s*\[+\s*([^\]\s]+)\s*\]")
_KEY = re.compile(r"([^=#]+)=")
_TRUTHS: Final = dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True) | dict.fromkeys(
    ("0", "f", "F", "false", "FALSE", "False"), False
)


class Declared(msgspec.Struct, frozen=True):
    """A setting of the list above: its name in the file, its type, its default, and what is known of it."""

    name: str
    type: Any
    default: object
    setting: Setting

    def from_text(self, text: str) -> object:
        """The value a text means. Raises ValueError, PowerError or msgspec's ValidationError."""
        if self.setting.read is not None:
            return self._checked(self.setting.read(text))
        plain = _plain(self.type)
        if bool in plain:
            return _TRUTHS.get(text, True)
        if int in plain:
            return self._checked(int(text) if re.fullmatch(r"-?[0-9]+", text) else text)
        return self._checked(text)

    def from_file(self, value: object) -> object:
        """The value the file holds. Raises as `from_text` does."""
        return self._checked(self.setting.read(value) if self.setting.read is not None else value)

    def _checked(self, value: object) -> object:
        return msgspec.convert(value, self.type)


def declared(owner: type[msgspec.Struct] = Config, table: str = "") -> Iterator[Declared]:
    """Every setting, in the order of the list above."""
    defaults = {field.name: field.default for field in msgspec.structs.fields(owner)}
    for name, annotation in get_type_hints(owner, include_extras=True).items():
        setting = next((extra for extra in get_args(annotation) if isinstance(extra, Setting)), None)
        if setting is not None:
            yield Declared(f"{table}{name}", annotation, defaults[name], setting)
        elif isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
            yield from declared(annotation, f"{name}.")


def _plain(annotation: object) -> tuple[object, ...]:
    """The types of an annotation, without what is noted beside them."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    return (annotation, *get_args(annotation))


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
        _from_file(file, settings, warnings),
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
    tables: dict[str, dict[str, object]] = {"": {}, "gpu": {}}
    for name, value in values.items():
        table, _, key = name.rpartition(".")
        tables[table][key] = value
    fields: dict[str, Any] = tables.pop("") | {"gpu": msgspec.convert(tables["gpu"], Gpu)}
    return Config(**fields)


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
            warnings[variable] = f"ignored, {_complaint(one, error)}"
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
            raise BadConfig(f"{origin}: {_complaint(settings[name], error)}") from error
    return layer


def _from_file(file: Path, settings: Mapping[str, Declared], warnings: dict[str, str]) -> Layer:
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
        if name in NOT_YET.values():
            warnings[where] = f"{name} has no effect in this version"
        elif name not in settings:
            raise BadConfig(f"{where}: unknown setting `{name}`{_nearest(name, settings)}")
        else:
            layer[name] = (_from_file_value(settings[name], value, where), where)
    return layer


def _from_file_value(one: Declared, value: object, where: str) -> object:
    try:
        return one.from_file(value)
    except (ValueError, PowerError, msgspec.ValidationError) as error:
        raise BadConfig(f"{where}: {_complaint(one, error)} - at `{one.name}`") from error


def _flat(tables: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    for name, value in tables.items():
        if name == "gpu" and isinstance(value, dict):
            yield from ((f"gpu.{key}", inner) for key, inner in value.items())
        else:
            yield name, value


def _complaint(one: Declared, error: Exception) -> str:
    """What is wrong with a value, in one line, as msgspec says it."""
    if isinstance(error, msgspec.ValidationError | PowerError):
        return str(error)
    return f"Expected `{_plain(one.type)[0].__name__}`"  # type: ignore[attr-defined]  # the plain type is a class


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
