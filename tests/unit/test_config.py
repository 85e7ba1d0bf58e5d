"""Settings: where each comes from, how forgivingly it is read, and what is said of one that cannot be."""

import math
from pathlib import Path

import pytest

from a3s_power import config
from a3s_power.config import NOT_YET, Config, declared, load
from a3s_power.core.errors import BadConfig


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A config file that is not there yet."""
    return tmp_path / "config.toml"


def test_without_any_word_everything_is_the_default(file: Path) -> None:
    loaded = load(file, {})
    assert loaded == config.Loaded(Config(), {}, {})
    assert loaded.config.address.url == "http://127.0.0.1:11434"


def test_a_flag_wins_over_the_environment_and_that_over_the_file(file: Path) -> None:
    file.write_text("max_queue = 1\nnum_parallel = 2\nkeep_alive = '7s'\n")
    loaded = load(file, {"OLLAMA_NUM_PARALLEL": "3", "OLLAMA_MAX_QUEUE": "4"}, {"max_queue": 5, "port": None})
    assert (loaded.config.max_queue, loaded.config.num_parallel, loaded.config.keep_alive) == (5, 3, 7.0)
    assert loaded.origins == {
        "max_queue": "--max-queue",
        "num_parallel": "OLLAMA_NUM_PARALLEL",
        "keep_alive": f"{file}:3",
    }


def test_every_field_of_the_file_is_read(file: Path) -> None:
    file.write_text(
        """
        host = "0.0.0.0"
        port = 8080
        data_dir = "/data"
        models = "/models"
        keep_alive = 60
        load_timeout = "-1"
        load_cooldown = "1m"
        stall_timeout = "2m"
        context_length = 8192
        context_share = 0.5
        contexts = ["m=2048"]
        drafts = ["m=ngram"]
        pins = ["m"]
        preload = "m, n"
        load_options = "fixed"
        num_parallel = 4
        max_loaded_models = 2
        max_queue = 9
        weights = ["10.0.0.0/8=2"]
        origins = ["https://a.example", "app://x"]
        allowed_hosts = ["box.example"]
        store_responses = 100
        store_responses_bytes = 5000
        store_responses_age = "-1"
        tmpdir = "/scratch"
        offline = true
        mirrors = ["registry.example=https://near.example"]
        logins = ["registry.example:5000=me:secret"]
        bandwidth = 1000000
        noprune = true
        flash_attention = false
        calibrate = false
        prefer = "Memory"
        kv_cache_type = "Q8_0"
        go_template = true
        prompt_cache = 100
        prompt_cache_disk = 1000000
        num_thread = 3
        use_mlock = true
        sched_spread = true
        engine = "llamaserver"
        debug = true
        log_format = "json"
        api_key = "k"

        [gpu]
        gpu_layers = 0
        main_gpu = 1
        tensor_split = [3, 1.5]
        devices = "0,GPU-1a"
        require = true
        reserve = 1000000000
        models = ["m=1+spread"]

        [llama_server]
        path = "/opt/llama-server"
        args = ["--numa", "isolate"]
        """
    )
    loaded = load(file, {})
    assert set(loaded.origins) - {"scheme", "prefix"} == {one.name for one in declared()}
    assert loaded.config == Config(
        host="0.0.0.0",
        port=8080,
        data_dir="/data",
        models="/models",
        keep_alive=60.0,
        load_timeout=0.0,
        load_cooldown=60.0,
        stall_timeout=120.0,
        context_length=8192,
        context_share=0.5,
        contexts=("m=2048",),
        drafts=("m=ngram",),
        pins=("m",),
        preload=("m", "n"),
        load_options=("fixed",),
        num_parallel=4,
        max_loaded_models=2,
        max_queue=9,
        weights=("10.0.0.0/8=2",),
        origins=("https://a.example", "app://x"),
        allowed_hosts=("box.example",),
        store_responses=100,
        store_responses_bytes=5000,
        store_responses_age=math.inf,
        tmpdir="/scratch",
        offline=True,
        mirrors=("registry.example=https://near.example",),
        logins=("registry.example:5000=me:secret",),
        bandwidth=1000000,
        noprune=True,
        flash_attention=False,
        calibrate=False,
        prefer="memory",
        kv_cache_type="q8_0",
        go_template=True,
        prompt_cache=100,
        prompt_cache_disk=1_000_000,
        num_thread=3,
        use_mlock=True,
        sched_spread=True,
        gpu=config.Gpu(
            gpu_layers=0,
            main_gpu=1,
            tensor_split=(3.0, 1.5),
            devices=("0", "GPU-1a"),
            require=True,
            reserve=1_000_000_000,
            models=("m=1+spread",),
        ),
        engine="llamaserver",
        llama_server=config.LlamaServer(path="/opt/llama-server", args=("--numa", "isolate")),
        debug=1,
        log_format="json",
        api_key="k",
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("max_que = 1", "1: unknown setting `max_que`, did you mean `max_queue`?"),
        ("\n# c\nmax_queue = 'x'", "3: Expected `int`, got `str` - at `max_queue`"),
        ("max_queue = -1", "1: Expected `int` >= 0 - at `max_queue`"),
        ("max_queue = 1.5", "1: Expected `int`, got `float` - at `max_queue`"),
        ("noprune = 'yes'", "1: Expected `bool`, got `str` - at `noprune`"),
        ("port = 65536", "1: Expected `int` <= 65535 - at `port`"),
        ("host = 'h:99999'", "1: invalid port '99999'"),
        ("keep_alive = '1d'", '1: time: unknown unit "d" in duration "1d" - at `keep_alive`'),
        ("kv_cache_type = 'q9'", "1: Invalid enum value 'q9' - at `kv_cache_type`"),
        ("origins = [1]", "1: Expected `str`, got `int` - at `$[0]` - at `origins`"),
        ("[gpu]\nmain = 1", "2: unknown setting `gpu.main`, did you mean `gpu.main_gpu`?"),
        ("[gpu]\nmain_gpu = 'x'", "2: Expected `int | null`, got `str` - at `gpu.main_gpu`"),
        ("gpu = {main_gpu = 'x'}", "1: Expected `int | null`, got `str` - at `gpu.main_gpu`"),
        ("\ngpu.main_gpu = 'x'", "2: Expected `int | null`, got `str` - at `gpu.main_gpu`"),
        ("gpu = 1", "1: unknown setting `gpu`"),
        ("scheme = 'https'", "1: unknown setting `scheme`"),
    ],
)
def test_a_mistake_in_the_file_names_file_line_and_what_was_expected(file: Path, text: str, complaint: str) -> None:
    file.write_text(text)
    with pytest.raises(BadConfig) as failed:
        load(file, {})
    assert str(failed.value) == f"{file}:{complaint}"


@pytest.mark.parametrize("content", [b"max_queue = ", b"\xff\xfe"])
def test_a_file_that_is_no_toml_is_named(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(BadConfig, match=r"config\.toml: "):
        load(file, {})


def test_a_folder_in_place_of_the_file_is_named(file: Path) -> None:
    file.mkdir()
    with pytest.raises(BadConfig, match=r"config\.toml: "):
        load(file, {})


@pytest.mark.parametrize("text", ["'8'", ' "8" ', "8", "\"'8'\""])
def test_blanks_and_quotes_around_a_variable_are_dropped(file: Path, text: str) -> None:
    assert load(file, {"OLLAMA_MAX_QUEUE": text}).config.max_queue == 8


@pytest.mark.parametrize("text", ["", "  ", '""'])
def test_an_empty_variable_is_not_set(file: Path, text: str) -> None:
    assert load(file, {"OLLAMA_NOPRUNE": text, "OLLAMA_MAX_QUEUE": text}) == config.Loaded(Config(), {}, {})


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", True), ("t", True), ("True", True), ("0", False), ("F", False), ("false", False), ("no", True), ("x", True)],
)
def test_a_truth_is_read_and_any_other_text_is_one(file: Path, text: str, *, value: bool) -> None:
    loaded = load(file, {"OLLAMA_NOPRUNE": text, "OLLAMA_FLASH_ATTENTION": text})
    assert (loaded.config.noprune, loaded.config.flash_attention) == (value, value)


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("OLLAMA_MAX_QUEUE", "abc"),
        ("OLLAMA_MAX_QUEUE", "-1"),
        ("OLLAMA_MAX_QUEUE", "0x10"),
        ("OLLAMA_CONTEXT_LENGTH", "1.5"),
        ("OLLAMA_KEEP_ALIVE", "1d"),
        ("OLLAMA_KEEP_ALIVE", "???"),
        ("OLLAMA_DEBUG", "loud"),
        ("OLLAMA_KV_CACHE_TYPE", "q9_9"),
        ("A3S_POWER_LOG_FORMAT", "xml"),
    ],
)
def test_an_unreadable_variable_is_a_warning_and_counts_for_nothing(file: Path, variable: str, text: str) -> None:
    file.write_text("max_queue = 7")
    loaded = load(file, {variable: text})
    assert list(loaded.warnings) == [variable]
    assert loaded.config == Config(max_queue=7)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5m", 300.0), ("90", 90.0), ("-1", math.inf), ("-1s", math.inf), ("0", 0.0), ("1h30m", 5400.0), ("300ms", 0.3)],
)
def test_keep_alive_is_a_duration_or_seconds(file: Path, text: str, seconds: float) -> None:
    assert load(file, {"OLLAMA_KEEP_ALIVE": text}).config.keep_alive == seconds


@pytest.mark.parametrize(("text", "level"), [("1", 1), ("true", 1), ("2", 2), ("-1", -1), ("0", 0), ("false", 0)])
def test_debug_is_a_level_or_a_truth(file: Path, text: str, level: int) -> None:
    assert load(file, {"OLLAMA_DEBUG": text}).config.debug == level


def test_lists_have_commas(file: Path) -> None:
    assert load(file, {"OLLAMA_ORIGINS": " https://a, app://b ,,"}).config.origins == ("https://a", "app://b")


def test_an_older_name_of_a_variable_counts_where_the_newer_is_not_set(file: Path) -> None:
    assert load(file, {"MAX_CACHE_MODELS": "2"}).config.max_loaded_models == 2
    assert load(file, {"MAX_CACHE_MODELS": "2", "OLLAMA_MAX_LOADED_MODELS": "3"}).config.max_loaded_models == 3


def test_each_place_says_as_much_of_the_address_as_it_holds(file: Path) -> None:
    file.write_text("host = 'file.example'\nport = 1000")
    assert load(file, {}).config.address.url == "http://file.example:1000"
    assert load(file, {"OLLAMA_HOST": "env.example"}).config.address.url == "http://env.example:1000"
    assert load(file, {"OLLAMA_HOST": ":2000"}, {"host": "::1"}).config.address.url == "http://[::1]:2000"
    assert load(file, {"OLLAMA_HOST": "https://e.example/x"}).config.address.url == "https://e.example:443/x"
    assert load(file, {"OLLAMA_HOST": "env:2000"}, {"port": 0}).config.address.url == "http://env:0"


def test_an_unusable_port_in_the_environment_is_a_warning(file: Path) -> None:
    loaded = load(file, {"OLLAMA_HOST": "1.2.3.4:99999"})
    assert loaded.config.address.url == "http://1.2.3.4:11434"
    assert loaded.warnings == {"OLLAMA_HOST": "invalid port '99999', using 11434"}


def test_an_unusable_flag_is_an_error(file: Path) -> None:
    with pytest.raises(BadConfig, match="--port: Expected `int` <= 65535"):
        load(file, {}, {"port": 70000})


def test_what_has_no_effect_is_accepted_with_a_warning(file: Path) -> None:
    loaded = load(file, {"OLLAMA_VULKAN": "1"})
    assert loaded.config == Config()
    assert set(loaded.warnings) == {"OLLAMA_VULKAN"}


def test_no_setting_is_declared_twice_nor_both_there_and_not_yet() -> None:
    names = [name for one in declared() for name in (one.name, *one.setting.names)]
    names += NOT_YET
    assert len(names) == len(set(names))


def test_the_environment_of_the_process_is_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_MAX_QUEUE", "11")
    assert load(file).config.max_queue == 11


@pytest.mark.parametrize(("text", "slots"), [("auto", -1), ("4", 4), ("0", 0), ("-2", 0), ("many", 0)])
def test_slots_are_a_number_or_automatic(file: Path, text: str, slots: int) -> None:
    assert load(file, {"OLLAMA_NUM_PARALLEL": text}).config.num_parallel == slots
    file.write_text("num_parallel = 'auto'")
    assert load(file, {}).config.num_parallel == -1


@pytest.mark.parametrize(("text", "share"), [("0.5", 0.5), ("0", 0.0), ("2", 0.25), ("half", 0.25)])
def test_a_share_is_between_nothing_and_all(file: Path, text: str, share: float) -> None:
    assert load(file, {"A3S_POWER_CONTEXT_SHARE": text}).config.context_share == share
