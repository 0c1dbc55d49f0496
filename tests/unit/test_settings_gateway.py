"""The settings of the gateway: file, environment, other programs' variables, command line, and what they refuse."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.unit.command import xetway
from xetway.errors import ConfigError
from xetway.settings import Settings, explain, load
from xetway.settings.aliases import ALIASES, WITHOUT_EFFECT
from xetway.settings.gateway import Gateway, StaticKey
from xetway.settings.reload import reloadable
from xetway.settings.shown import MASK, document
from xetway.settings.sources import without_effect
from xetway.settings.tree import SETTINGS, values_of

SMALLEST = '[[models]]\nname = "m"\nupstreams = [{ url = "http://127.0.0.1:9000/v1" }]\n'
KEY = "a key that is long enough"
DIGEST = hashlib.sha256(KEY.encode()).hexdigest()

Loader = Callable[..., Settings]


@pytest.fixture
def loaded(tmp_path: Path) -> Loader:
    """Load with a file of this text."""

    def load_text(text: str = SMALLEST, environment: Mapping[str, str] | None = None, *sets: str) -> Settings:
        file = tmp_path / "gateway.toml"
        file.write_text(text)
        return load({"config": str(file), "set": sets}, environment or {})

    return load_text


def refused(loaded: Loader, *arguments: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(*arguments)
    assert caught.value.code == "bad_config"
    return caught.value.message


def test_the_smallest_file(loaded: Loader) -> None:
    settings = loaded()
    [model] = settings.gateway.models
    assert (model.name, model.upstreams[0].url) == ("m", "http://127.0.0.1:9000/v1")
    assert msgspec.structs.replace(settings.gateway, models=()) == Gateway() == load({}, {}).gateway


def test_each_source_beats_the_one_before(loaded: Loader) -> None:
    text = SMALLEST + "[queue]\nmax_size = 1\ntimeout = 2\nageing = 3\nconcurrency = 4\n[limits.key]\nburst = 5\n"
    environment = {
        "HF_SERVER_MAX_QUEUE_SIZE": "10",
        "HF_SERVER_QUEUE_TIMEOUT_SECONDS": "20",
        "XETWAY_QUEUE_MAX_SIZE": "100",
        "XETWAY_QUEUE_AGEING": "1m",
        "XETWAY_LIMITS_KEY_BURST": "none",
    }
    gateway = loaded(text, environment, "queue.ageing=5", "queue.concurrency = 6").gateway
    queue = gateway.queue
    assert (queue.max_size, queue.timeout, queue.ageing, queue.concurrency) == (100, 20, 5, 6)
    assert (gateway.limits.key.burst, gateway.limits.key.requests_per_minute) == (None, 1000)


def test_the_file_has_the_options_of_the_server(loaded: Loader, tmp_path: Path) -> None:
    text = '[server]\nport = 9\nopen = true\ndata = "there"\nlog_level = "debug"\n[mirror]\nmax_stale = "12h"\n'
    settings = loaded(text)
    assert (settings.port, settings.open, settings.log_level, settings.max_stale) == (9, True, "debug", 43_200)
    assert settings.data == tmp_path / "there"
    assert load({"port": "3", "config": str(tmp_path / "gateway.toml")}, {"XETWAY_OPEN": "no"}).port == 3
    assert loaded(text, {"XETWAY_CONFIG": "/not/there"}).port == 9
    assert load({}, {"XETWAY_CONFIG": str(tmp_path / "gateway.toml")}).port == 9
    assert loaded(text, {}, "server.port=8").port == 8


def test_texts_in_variables(loaded: Loader) -> None:
    environment = {
        "XETWAY_CORS_ORIGINS": "https://a.test, https://b.test",
        "XETWAY_AUTH_PUBLIC": '["/health", "/a,b"]',
        "XETWAY_HTTP_MAX_BODY_BYTES": "1.5MiB",
        "XETWAY_TELEMETRY_LOG_FORMAT": "JSON",
        "XETWAY_BREAKER_ENABLED": "off",
        "XETWAY_MODELS": '[{name = "n", upstreams = [{url = "http://u/v1"}]}]',
        "XETWAY_LIMITS_URL": "",
    }
    gateway = load({}, environment).gateway
    assert gateway.cors.origins == ("https://a.test", "https://b.test")
    assert gateway.auth.public == ("/health", "/a,b")
    assert gateway.http.max_body_bytes == 3 << 19
    assert (gateway.telemetry.log_format, gateway.breaker.enabled, gateway.limits.url) == ("json", False, None)
    assert gateway.models[0].name == "n"


@pytest.mark.parametrize("value", ["1", "true", "YES", "on"])
def test_words_for_true(value: str) -> None:
    assert load({}, {"XETWAY_CACHE_ENABLED": value}).gateway.cache.enabled


@pytest.mark.parametrize(
    ("name", "value", "valid"),
    [
        ("queue.max_size", "-1", "a whole number at least 0"),
        ("queue.max_size", "x", "a whole number at least 0"),
        ("queue.max_size", "9" * 5000, "a whole number at least 0"),
        ("queue.concurrency", "0", "a whole number at least 1, or none"),
        ("queue.timeout", "0", "a time above 0 and at most 86400 in seconds"),
        ("queue.timeout", "nan", "a time above 0"),
        ("queue.timeout", "soon", "a time above 0"),
        ("http.max_body_bytes", "lots", "a number of bytes at least 1"),
        ("cache.enabled", "maybe", "true or false"),
        ("telemetry.log_format", "xml", "json or text"),
    ],
)
def test_a_wrong_value_names_its_source_and_what_is_valid(loaded: Loader, name: str, value: str, valid: str) -> None:
    variable = f"XETWAY_{name.upper().replace('.', '_')}"
    message = refused(loaded, SMALLEST, {variable: value})
    assert message.startswith(f"{variable} ({name}) is {value!r}; it must be {valid}")
    assert refused(loaded, SMALLEST, {}, f"{name}={value}").startswith(f"--set {name} is {value!r}; it must be {valid}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[queue]\nmax_size = -5\n", "gateway.toml: queue.max_size is -5; it must be a whole number at least 0"),
        ('[queue]\nmax_size = "5"\n', "gateway.toml: queue.max_size is '5'; it must be a whole number at least 0"),
        ("[queue]\nmaxsize = 5\n", "gateway.toml: queue.maxsize is no setting; did you mean queue.max_size?"),
        ("max_answer_bytes = 5\n", "max_answer_bytes is no setting; did you mean cache.max_answer_bytes?"),
        ("[nonsense]\n", "gateway.toml: nonsense is no setting"),
        ("queue = 5\n", "queue is a single value; it must be a table, [queue]"),
        ("[server]\nport = 99999\n", "server.port: --port (or XETWAY_PORT) is '99999'; it must be"),
        ("[server]\nport = [1]\n", "server.port"),
        ("[server]\nprot = 1\n", "did you mean server.port?"),
        ("[queue\n", "gateway.toml is not TOML: "),
        ("\udcff", "gateway.toml is not TOML: "),
        (SMALLEST + "alias = 1\n", "models[0].alias is no setting; did you mean aliases?"),
        (SMALLEST + "limit = {burts = 1}\n", "models[0].limit.burts is no setting; did you mean burst?"),
        (SMALLEST + "timeout = -1\n", "models[0].timeout: Expected `float` > 0"),
        (SMALLEST.replace("http://", "ftp://"), "models[0].upstreams[0].url: Expected `str` matching"),
        (SMALLEST.replace("url", "uri"), "models[0].upstreams[0].uri is no setting; did you mean url?"),
        (SMALLEST.replace("9000", "99999"), "models[0].upstreams[0].url must be an address"),
        (SMALLEST.replace("127", "user:hidden@127"), "models[0].upstreams[0].url has a user name in it"),
        (SMALLEST + SMALLEST, "models[1].name is 'm', which is a name of models[0] already"),
        (SMALLEST + 'aliases = ["m"]\n', "models[0].aliases is 'm', which is a name of models[0] already"),
        (SMALLEST + "[models.set]\nstream = true\n", "models[0] sets or removes 'stream', which only the client may"),
        (SMALLEST + 'remove = ["n"]\nset = {n = 1}\n', "models[0].remove has 'n', which is set too"),
        (SMALLEST.replace(" }]", ", weight = 0 }]"), "models[0].upstreams have no weight above 0"),
        (SMALLEST.replace(" }]", ', key_env = "A", key_file = "b" }]'), "key_file and key_env are both set"),
        (SMALLEST.replace(" }]", ', ca_bundle = "none.pem" }]'), "none.pem', which is no file"),
        ('[tls]\ncert = "a"\n', "tls.cert is set, and tls.key is missing"),
        ('[limits]\nurl = "http://h"\n', "limits.url must be an address that begins with redis:// or "),
        ('[cache]\nurl = "redis://u:hidden@h"\n', "cache.url has a user name or a password in it; XETWAY_CACHE_URL"),
        ("[cache]\nmax_bytes = 1\n", "cache.max_answer_bytes is more than cache.max_bytes, which is 1"),
        ('[[auth.keys]]\nname = "a"\n', "auth.keys[0] needs one of key, key_env and key_file"),
        ('[[auth.keys]]\nname = "a"\nkey = "hidden"\n', "auth.keys[0].key: Expected `str` of length >= 8"),
        ('[[auth.keys]]\nname = "a"\nkey = "hidden12"\n' * 2, "auth.keys[1].name is 'a', which is the name of"),
        ('[[auth.keys]]\nname = "a"\nkey = "hidden12"\n[[auth.keys]]\nname = "b"\nkey = "hidden12"\n', "the same as"),
        ('[[auth.keys]]\nname = "a"\nkey_file = "none.txt"\n', "none.txt', which is no file"),
    ],
)  # fmt: skip
def test_what_a_file_must_not_have(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "gateway.toml"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError) as caught:
        load({"config": str(file)}, {})
    assert message in caught.value.message
    assert "hidden" not in caught.value.message


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"XETWAY_CONFIG\) is '/not/there\.toml', which cannot be read"):
        load({"config": "/not/there.toml"}, {})


def test_names_that_are_not_known(loaded: Loader) -> None:
    assert "did you mean XETWAY_QUEUE_MAX_SIZE?" in refused(loaded, SMALLEST, {"XETWAY_QUEUE_MAXSIZE": "1"})
    assert "did you mean XETWAY_PORT?" in refused(loaded, SMALLEST, {"XETWAY_SERVER_PORT": "1"})
    assert "did you mean queue.max_size?" in refused(loaded, SMALLEST, {}, "queue.maxsize=1")
    assert "--set takes SETTING=VALUE" in refused(loaded, SMALLEST, {}, "queue.max_size")
    assert "did you mean HF_SERVER_HOST?" in refused(loaded, SMALLEST, {"HF_SERVER_HOSTS": "1"})
    load({}, {"XETWAY_UPSTREAM_TOKEN": "x", "XETWAY_KILL_SEED": "1", "HF_SERVER_HOSTS": "1"})


def test_keys_are_kept_as_digests_and_never_shown(loaded: Loader) -> None:
    text = SMALLEST + f'[[auth.keys]]\nname = "a"\nkey = "{KEY}"\n'
    environment = {"API_KEYS": f"key1, {DIGEST[::-1]}", "HF_SERVER_ADMIN_API_KEY": "admin123"}
    settings = loaded(text, environment)
    auth = settings.gateway.auth
    assert auth.enabled
    assert {key.key for key in auth.keys} == {
        DIGEST, DIGEST[::-1], *(hashlib.sha256(text).hexdigest() for text in (b"key1", b"admin123")),
    }  # fmt: skip
    assert [key.name for key in auth.keys if "admin" in key.scopes] == ["hf_server_admin_api_key"]
    assert repr(auth.keys[0]) == f"StaticKey(name={auth.keys[0].name!r})"
    shown = f"{settings}{msgspec.json.encode(settings, enc_hook=str)!r}"
    assert not [secret for secret in (KEY, "key1", "admin123") if f'"{secret}"' in shown]
    assert not loaded(text + "[auth]\nenabled = false\n", environment).gateway.auth.enabled


def test_our_variable_for_keys_beats_others_and_joins_the_file(loaded: Loader) -> None:
    text = SMALLEST + f'[[auth.keys]]\nname = "a"\nkey = "{KEY}"\n'
    keys = loaded(text, {"API_KEYS": "other", "XETWAY_AUTH_KEYS": "mine"}).gateway.auth.keys
    assert [key.name for key in keys] == ["xetway_auth_keys-1", "a"]
    assert "XETWAY_AUTH_KEYS may hold them" in refused(loaded, SMALLEST, {}, "auth.keys=hidden")


def test_settings_go_through_the_pipe_to_a_worker(loaded: Loader) -> None:
    settings = loaded(SMALLEST + f'set = {{a = [1, 2.5]}}\n[[auth.keys]]\nname = "a"\nkey = "{KEY}"\n')
    line = msgspec.json.encode(settings, enc_hook=str)
    assert msgspec.json.decode(line, type=Settings, dec_hook=lambda kind, value: kind(value)) == settings


_REQUESTS = ("limits.key.requests_per_minute", "limits.anonymous.requests_per_minute")
SAMPLES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "SERVER_ADDRESS": ("[::1]:99", {"host": "::1", "port": 99}),
    "HOST": ("192.0.2.1", {"host": "192.0.2.1"}),
    "PORT": ("99", {"port": 99}),
    "LOG_LEVEL": ("WARN", {"log_level": "warning"}),
    "SERVER_TIMEOUT_SECONDS": ("31", {"http.timeout": 31.0}),
    "MAX_REQUEST_SIZE": ("1000", {"http.max_body_bytes": 1000}),
    "AUTH_ENABLED": ("true", {"auth.enabled": True}),
    "API_KEYS": ("k", {"auth.enabled": True}),
    "AUTH_HEALTH_CHECK": ("true", {"auth.public": ()}),
    "RATE_LIMIT_ENABLED": ("1", {"limits.enabled": True}),
    "RATE_LIMIT_RPM": ("7", dict.fromkeys(_REQUESTS, 7)),
    "RATE_LIMIT_BURST": ("7", {"limits.key.burst": 7, "limits.anonymous.burst": 7}),
    "ENABLE_TRACING": ("false", {"telemetry.traces": False}),
    "ENABLE_METRICS": ("false", {"telemetry.metrics": False}),
    "OTLP_ENDPOINT": ("http://h:4318", {"telemetry.otlp_endpoint": "http://h:4318"}),
    "HF_SERVER_HOST": ("192.0.2.1", {"host": "192.0.2.1"}),
    "HF_SERVER_PORT": ("99", {"port": 99}),
    "HF_SERVER_WORKERS": ("2", {"workers": 2}),
    "HF_SERVER_LOG_LEVEL": ("INFO", {"log_level": "info"}),
    "HF_SERVER_LOG_FORMAT": ("json", {"telemetry.log_format": "json"}),
    "HF_SERVER_ENABLE_AUTH": ("true", {"auth.enabled": True}),
    "HF_SERVER_REQUIRE_AUTH": ("true", {"auth.enabled": True}),
    "HF_SERVER_API_KEY": ("k", {"auth.enabled": True}),
    "HF_SERVER_ADMIN_API_KEY": ("k", {"auth.enabled": True}),
    "HF_SERVER_ENABLE_RATE_LIMITING": ("true", {"limits.enabled": True}),
    "HF_SERVER_DEFAULT_RATE_LIMIT": ("7", {"limits.key.requests_per_minute": 7}),
    "HF_SERVER_ENABLE_REQUEST_QUEUE": ("no", {"queue.enabled": False}),
    "HF_SERVER_MAX_QUEUE_SIZE": ("7", {"queue.max_size": 7}),
    "HF_SERVER_QUEUE_TIMEOUT_SECONDS": ("7", {"queue.timeout": 7.0}),
    "HF_SERVER_ENABLE_BATCHING": ("yes", {"batching.enabled": True}),
    "HF_SERVER_BATCH_MAX_SIZE": ("7", {"batching.max_size": 7}),
    "HF_SERVER_BATCH_TIMEOUT_MS": ("100", {"batching.window": 0.1}),
    "HF_SERVER_ENABLE_CACHING": ("true", {"cache.enabled": True}),
    "HF_SERVER_CACHE_TTL_SECONDS": ("7", {"cache.ttl": 7.0}),
    "HF_SERVER_ENABLE_CIRCUIT_BREAKER": ("false", {"breaker.enabled": False}),
    "HF_SERVER_CIRCUIT_BREAKER_THRESHOLD": ("7", {"breaker.failures": 7}),
    "HF_SERVER_CIRCUIT_BREAKER_TIMEOUT_SECONDS": ("7", {"breaker.open_for": 7.0}),
    "HF_SERVER_ENABLE_METRICS": ("false", {"telemetry.metrics": False}),
    "HF_SERVER_ENABLE_CORS": ("false", {"cors.origins": ()}),
    "HF_SERVER_CORS_ORIGINS": ("*", {"cors.origins": ("*",)}),
}  # fmt: skip
TOGETHER = {"ENABLE_TLS", "TLS_CERT_PATH", "TLS_KEY_PATH", "ENABLE_L2_CACHE", "REDIS_URL"}


def test_every_other_name_is_shown_here() -> None:
    assert {alias.name for alias in ALIASES} == {*SAMPLES, *TOGETHER}


@pytest.mark.parametrize("name", SAMPLES)
def test_other_names(loaded: Loader, name: str) -> None:
    text, expected = SAMPLES[name]
    settings = loaded(SMALLEST + '[cors]\norigins = ["https://a.test"]\n', {name: text})
    values = dict(values_of(settings.gateway)) | {field: getattr(settings, field) for field in ("host", "port")}
    values |= {"log_level": settings.log_level, "workers": settings.workers}
    assert expected.items() <= values.items()


@pytest.mark.parametrize("name", sorted({*SAMPLES, *TOGETHER} - {"API_KEYS", "HF_SERVER_API_KEY", "TLS_KEY_PATH"}))
def test_a_wrong_value_of_another_name(loaded: Loader, name: str) -> None:
    if name in {"HF_SERVER_CORS_ORIGINS", "TLS_CERT_PATH", "REDIS_URL", "HF_SERVER_ADMIN_API_KEY", "OTLP_ENDPOINT"}:
        return  # any text, or checked with others
    assert name in refused(loaded, SMALLEST, {name: "?"})


def test_generic_names_do_not_change_a_hub() -> None:
    stray = {name: text for name, (text, _) in SAMPLES.items() if not name.startswith("HF_SERVER_")}
    assert load({}, stray | {"ENABLE_TLS": "true", "ENABLE_L2_CACHE": "1"}) == load({}, {})
    assert load({}, {"HF_SERVER_PORT": "99"}).port == 99
    models = '[{name = "n", upstreams = [{url = "http://u/v1"}]}]'
    assert load({"set": [f"models={models}"]}, {"PORT": "99"}).port == 99


def test_names_that_disagree(loaded: Loader) -> None:
    pair = {"PORT": "1", "HF_SERVER_PORT": "2"}
    assert refused(loaded, SMALLEST, pair) == (
        "PORT and HF_SERVER_PORT say different things of server.port; XETWAY_PORT would decide"
    )
    assert loaded(SMALLEST, pair | {"XETWAY_PORT": "3"}).port == 3
    assert loaded(SMALLEST, {"PORT": "1", "SERVER_ADDRESS": "127.0.0.1:1"}).port == 1


def test_tls_and_the_second_cache_have_switches(loaded: Loader, tmp_path: Path) -> None:
    for name in ("cert", "key"):
        (tmp_path / name).touch()
    paths = {"TLS_CERT_PATH": str(tmp_path / "cert"), "TLS_KEY_PATH": str(tmp_path / "key")}
    tls = loaded(SMALLEST, paths | {"ENABLE_TLS": "true"}).gateway.tls
    assert tls is not None
    assert (tls.cert, tls.key) == (tmp_path / "cert", tmp_path / "key")
    assert loaded(SMALLEST, paths).gateway.tls == tls
    assert loaded(SMALLEST, paths | {"ENABLE_TLS": "false"}).gateway.tls is None
    in_file = SMALLEST + '[tls]\ncert = "cert"\nkey = "key"\n'
    assert loaded(in_file).gateway.tls == tls
    assert loaded(in_file, {"ENABLE_TLS": "false"}).gateway.tls is None
    assert "needs TLS_CERT_PATH and TLS_KEY_PATH" in refused(loaded, SMALLEST, {"ENABLE_TLS": "true"})
    redis = {"REDIS_URL": "redis://user:hidden@h:6379/1"}
    assert loaded(SMALLEST, redis).gateway.cache.url is None
    cache = loaded(SMALLEST, redis | {"ENABLE_L2_CACHE": "true"}).gateway.cache
    assert (cache.enabled, cache.url) == (True, redis["REDIS_URL"])
    assert "needs REDIS_URL" in refused(loaded, SMALLEST, {"ENABLE_L2_CACHE": "true"})
    wrong = {"REDIS_URL": "http://user:hidden@h", "ENABLE_L2_CACHE": "true"}
    assert "hidden" not in refused(loaded, SMALLEST, wrong)


def test_variables_that_mean_nothing_here_are_told() -> None:
    assert without_effect({"METRICS_PORT": "9090", "PORT": "1"}) == [
        "METRICS_PORT has no effect: /metrics is on the server's own port"
    ]
    assert not set(WITHOUT_EFFECT) & {alias.name for alias in ALIASES}


def test_what_is_shown_is_a_file_of_the_same_settings(loaded: Loader, tmp_path: Path) -> None:
    text = SMALLEST + 'aliases = ["x\\"y"]\nset = {"a b" = [1.5, true, "\\u0007"]}\nlimit = {burst = 3}\n'
    text += '[limits]\nurl = "redis://h"\n[[models.upstreams]]\nurl = "http://b/v1"\nkey_env = "B_KEY"\n'
    text = text.replace("upstreams = [{ url =", "description = ").replace('/v1" }]', '"')
    file = tmp_path / "gateway.toml"
    file.write_text(text)
    settings, sources = explain({"config": str(file)}, {"XETWAY_QUEUE_MAX_SIZE": "7"})
    shown = document(settings, sources)
    assert "max_size = 7  # XETWAY_QUEUE_MAX_SIZE\n" in shown
    assert 'url = "redis://h"  # gateway.toml: limits.url\n' in shown
    assert "# concurrency = none  # default\n" in shown
    assert loaded(shown) == settings


def test_what_is_shown_has_no_secrets(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(
        SMALLEST + 'set_headers = {authorization = "Bearer hidden"}\n'
        'defaults = {api_key = "hidden", password = "hidden"}\n'
        '[[auth.keys]]\nname = "a"\nkey = "hidden hidden"\n'
    )
    environment = {"XETWAY_LIMITS_URL": "redis://u:hidden@h:1/0", "API_KEYS": "hidden"}
    shown = document(*explain({"config": str(file)}, environment))
    assert "hidden" not in shown
    assert hashlib.sha256(b"hidden").hexdigest() not in shown
    assert f'url = "redis://{MASK}@h:1/0"  # XETWAY_LIMITS_URL\n' in shown
    assert len(tomllib.loads(shown)["auth"]["keys"]) == 2


def test_what_a_running_server_can_take(loaded: Loader) -> None:
    old = loaded(SMALLEST + "[queue]\nmax_size = 1\n")
    new = loaded(
        SMALLEST.replace('"m"', '"n"') + "[queue]\nmax_size = 2\n[server]\nport = 9\nlog_level = 'debug'\n"
        "[cache]\nmax_bytes = '2MiB'\nttl = 5\n[http]\ntimeout = 3\n"
    )
    settings, waiting = reloadable(old, new)
    assert waiting == ["server.port", "cache.max_bytes"]
    assert (settings.port, settings.log_level, settings.gateway.queue.max_size) == (8080, "debug", 2)
    assert (settings.gateway.cache.max_bytes, settings.gateway.cache.ttl) == (64 << 20, 5)
    assert (settings.gateway.models[0].name, settings.gateway.http.timeout) == ("n", 3)
    assert reloadable(new, new) == (new, [])


def test_tls_begins_and_ends_with_a_restart(loaded: Loader, tmp_path: Path) -> None:
    for name in ("cert", "key"):
        (tmp_path / name).touch()
    plain, secured = loaded(), loaded(SMALLEST + '[tls]\ncert = "cert"\nkey = "key"\n')
    assert reloadable(plain, secured) == (plain, ["tls.cert", "tls.key"])
    assert reloadable(secured, plain) == (secured, ["tls.cert", "tls.key"])


def test_every_scalar_setting_has_a_variable_of_its_own() -> None:
    variables = [setting.variable for setting in SETTINGS.values()]
    assert len(set(variables)) == len(variables)
    assert {"XETWAY_PORT", "XETWAY_UPSTREAM", "XETWAY_QUEUE_MAX_SIZE", "XETWAY_TLS_CERT"} <= set(variables)
    assert StaticKey.__struct_fields__  # the fields inside lists of tables have none


def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METRICS_PORT", "9090")
    file = tmp_path / "gateway.toml"
    file.write_text(SMALLEST)
    assert xetway("config", "check", str(file)) == 0
    said = capsys.readouterr()
    assert said.out == f"{file} is fine: 1 model, 0 keys\n"
    assert "METRICS_PORT has no effect" in said.err
    assert xetway("config", "show", "--config", str(file), "--set", "queue.max_size=50", "--port", "7") == 0
    shown = tomllib.loads(capsys.readouterr().out)
    assert (shown["queue"]["max_size"], shown["server"]["port"], shown["models"][0]["name"]) == (50, 7, "m")
    file.write_text("[queue]\nmax_size = -1\n")
    assert xetway("config", "check", str(file)) == 2
    assert "gateway.toml: queue.max_size is -1; it must be a whole number at least 0" in capsys.readouterr().err
