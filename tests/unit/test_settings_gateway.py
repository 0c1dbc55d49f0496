"""The settings of the gateway: file, environment, other programs' variables, command line, and what they refuse."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path
from unittest.mock import Mock

import msgspec
import pytest

from tests.unit.command import xetway
from tests.unit.settings_driver import SMALLEST, Loader, loader, refused
from xetway.cas import uploads
from xetway.errors import ConfigError
from xetway.openai.paths import patterns
from xetway.settings import Settings, explain, load
from xetway.settings.checks import OF_THE_STORE
from xetway.settings.gateway import Gateway, StaticKey
from xetway.settings.reload import reloadable
from xetway.settings.shown import MASK, document
from xetway.settings.tree import SETTINGS

KEY = "a key that is long enough"
DIGEST = hashlib.sha256(KEY.encode()).hexdigest()


@pytest.fixture
def loaded(tmp_path: Path) -> Loader:
    return loader(tmp_path)


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
        (SMALLEST + 'set_headers = {"a b" = "hidden"}\n', "key in models[0].set_headers: Expected `str` matching"),
        (SMALLEST + 'set_headers = {a = "hidden\\n"}\n', "models[0].set_headers[...]: Expected `str` matching regex"),
        ("models = 5\n", "gateway.toml: models: Expected `array`, got `int`"),
        (SMALLEST.replace(" }]", ', http = "3" }]'), "[0].http: Invalid enum value '3'; it must be 1.1 or 2"),
        (SMALLEST + '[[auth.keys]]\nname = "k"\nscopes = ["infr"]\n', "'infr'; it must be infer or load or admin"),
        (SMALLEST + "timeout = -1\n", "models[0].timeout: Expected `float` > 0"),
        (SMALLEST.replace("http://", "ftp://"), "models[0].upstreams[0].url must be an http:// or"),
        (SMALLEST.replace("url", "uri"), "models[0].upstreams[0].uri is no setting; did you mean url?"),
        (SMALLEST.replace("9000", "99999"), "models[0].upstreams[0].url must be an http:// or"),
        (SMALLEST.replace("/v1", "/v1\\n"), "models[0].upstreams[0].url must be an http:// or"),
        (SMALLEST.replace("/v1", "/v1?a=b"), "models[0].upstreams[0].url must be an http:// or"),
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
        ('[http]\npaths = ["/v1/mine", "/v1/shards"]\n', "http.paths has '/v1/shards', where this server takes"),
        ('[http]\npaths = ["/v1/xorbs/*"]\n', "http.paths has '/v1/xorbs/*', where this server takes"),
        *(
            (f'[cors]\norigins = ["https://a.test", "{origin}"]\n', f"cors.origins has '{origin}', not an origin")
            for origin in (
                "*", "null", "a.test", "https://a.test/", "https://A.test", "https://a.test:443", "http://a.test:80",
                "https://a.test/b", "https://u@a.test", "https://*.a.test", "",
            )
        ),
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


@pytest.mark.parametrize(
    "origins", [["*"], ["https://a.test", "http://localhost:3000", "http://[::1]:8080", "app://obsidian.md"]]
)
def test_origins(loaded: Loader, origins: list[str]) -> None:
    assert loaded(f"cors.origins = {origins}\n").gateway.cors.origins == tuple(origins)


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"XETWAY_CONFIG\) is '/not/there\.toml', which cannot be read"):
        load({"config": "/not/there.toml"}, {})


def test_names_that_are_not_known(loaded: Loader) -> None:
    assert "did you mean XETWAY_QUEUE_MAX_SIZE?" in refused(loaded, SMALLEST, {"XETWAY_QUEUE_MAXSIZE": "1"})
    assert "did you mean XETWAY_PORT?" in refused(loaded, SMALLEST, {"XETWAY_SERVER_PORT": "1"})
    assert "did you mean queue.max_size?" in refused(loaded, SMALLEST, {}, "queue.maxsize=1")
    assert "queue.max_size has no value" in refused(loaded, SMALLEST, {}, "queue.max_size")
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
        "[cache]\nmax_bytes = '2MiB'\nttl = 5\n[http]\ntimeout = 3\nheader_timeout = 4\n"
    )
    settings, waiting = reloadable(old, new)
    assert waiting == ["server.port", "cache.max_bytes", "http.header_timeout"]
    assert (settings.port, settings.log_level, settings.gateway.queue.max_size) == (8080, "debug", 2)
    assert (settings.gateway.cache.max_bytes, settings.gateway.cache.ttl) == (64 << 20, 5)
    assert (settings.gateway.models[0].name, settings.gateway.http.timeout) == ("n", 3)
    assert reloadable(new, new) == (new, [])


def test_a_file_that_may_not_be_looked_for_is_named_with_its_setting(
    loaded: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(_path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    text = SMALLEST.replace(" }]", ', key_file = "upstream.key" }]')
    monkeypatch.setattr(Path, "is_file", forbidden)
    message = refused(loaded, text)
    assert "models[0].upstreams[0].key_file is '" in message
    assert "upstream.key', which cannot be read: Permission denied" in message


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
    file.write_text(f"{SMALLEST}[tls]\ncert = 'gateway.toml'\nkey = 'gateway.toml'\n")
    assert xetway("config", "check", str(file)) == 2
    assert "gateway.toml', which holds no certificate in PEM form" in capsys.readouterr().err
    file.write_text("[queue]\nmax_size = -1\n")
    assert xetway("config", "check", str(file)) == 2
    assert "gateway.toml: queue.max_size is -1; it must be a whole number at least 0" in capsys.readouterr().err


def test_no_path_that_is_forwarded_is_one_of_uploads() -> None:
    own = [path for methods, path, _ in uploads.routes(Mock(), Mock()) if "POST" in methods and path.startswith("/v1/")]
    assert len(own) == 4
    assert all(map(OF_THE_STORE.fullmatch, own))
    assert not any(map(OF_THE_STORE.fullmatch, patterns(("/v1/sharded", "/v1/shards-of-mine/*"))))
