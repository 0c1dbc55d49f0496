"""API keys: who is let in, who is not, what is kept of them, and what other processes see."""

from __future__ import annotations

import hashlib
import sqlite3
import sys
from pathlib import Path

import pytest

from xetway.db import Database
from xetway.errors import AuthError, ConfigError, ForbiddenError, NotFoundError, XetwayError
from xetway.policy.key_store import KeyStore
from xetway.policy.keys import USED_INTERVAL_S, Keys
from xetway.settings.gateway import Auth, Limit, StaticKey

NOW = 1_000_000.0
NEEDED = Auth(enabled=True)
BY = {"who": "test", "client": "192.0.2.9"}


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> KeyStore:
    return KeyStore(Database(tmp_path / "xetway.db"), clock)


def another(tmp_path: Path, clock: Clock, auth: Auth = NEEDED) -> Keys:
    """The keys as another process has them: over connections of its own."""
    return Keys(auth, KeyStore(Database(tmp_path / "xetway.db"), clock), {}, clock)


def refusal(keys: Keys, authorization: bytes | None, x_api_key: bytes | None = None, now: float = NOW) -> XetwayError:
    with pytest.raises(AuthError) as caught:
        keys.check(authorization, x_api_key, "192.0.2.1", now)
    assert caught.value.status == 401
    assert ("www-authenticate", "Bearer") in caught.value.headers
    return caught.value


def test_a_generated_key_says_who_calls(store: KeyStore, clock: Clock) -> None:
    keys = Keys(NEEDED, store, {}, clock)
    key, info = keys.create(
        name="app", models=("llama-*", "gpt"), priority="high", limit=Limit(burst=3), scopes=("infer", "load"), **BY
    )
    assert key.startswith("xwk_")
    assert len(key) == 47
    caller = keys.check(b"Bearer " + key.encode(), None, "192.0.2.1", NOW)
    assert (caller.id, caller.key_name, caller.priority, caller.limit) == (info.id, "app", "high", Limit(burst=3))
    assert [caller.may_use(name) for name in ("llama-8b", "gpt", "gpt-2")] == [True, True, False]
    assert caller.scopes == {"infer", "load"}
    assert len(info.id) == 16
    assert int(info.id, 16) >= 0
    assert keys.check(None, key.encode(), "", NOW) is caller


def test_forms_of_the_header(store: KeyStore, clock: Clock) -> None:
    keys = Keys(Auth(enabled=True, keys=(StaticKey(name="s", key="plain key"),)), store, {}, clock)
    for authorization in (b"Bearer plain key", b"bearer plain key", b"BEARER   plain key "):
        assert keys.check(authorization, None, "", NOW).key_name == "s"
    assert keys.check(b"Bearer plain key", b"plain key", "", NOW).key_name == "s"
    assert keys.check(b"Basic abc", b"plain key", "", NOW).key_name == "s"
    assert keys.check(b"Bearer plain key", b"", "", NOW).key_name == "s"
    for authorization in (None, b"", b"Basic abc", b"Bearer ", b"Bearer", b"plain key"):
        assert refusal(keys, authorization).code == "missing_api_key"
    for authorization in (b"Bearer other", b"Bearer " + b"x" * 600, b"Bearer \xff\x00"):
        assert refusal(keys, authorization).code == "invalid_api_key"
    assert refusal(keys, b"Bearer other", b"plain key").code == "invalid_api_key"
    assert "different keys" in refusal(keys, b"Bearer plain key", b"other").message


def test_where_no_key_is_needed_callers_are_their_addresses(store: KeyStore, clock: Clock) -> None:
    keys = Keys(Auth(), store, {}, clock)
    for authorization in (None, b"Bearer nonsense"):
        caller = keys.check(authorization, None, "192.0.2.1", NOW)
        assert (caller.id, caller.key_name, caller.limit) == ("192.0.2.1", None, None)
        assert caller.scopes == {"infer"}
    key, info = keys.create(name="app", **BY)
    assert keys.check(None, key.encode(), "", NOW).id == info.id


def test_administrators_need_a_key_even_there(store: KeyStore, clock: Clock) -> None:
    keys = Keys(Auth(), store, {}, clock)
    plain, _ = keys.create(name="app", **BY)
    admin, info = keys.create(name="op", scopes=("admin",), **BY)
    with pytest.raises(AuthError) as missing:
        keys.check_admin(None, None, NOW)
    with pytest.raises(ForbiddenError) as refused:
        keys.check_admin(None, plain.encode(), NOW)
    assert (missing.value.code, refused.value.code, refused.value.status) == (
        "missing_api_key", "insufficient_scope", 403,
    )  # fmt: skip
    assert keys.check_admin(b"Bearer " + admin.encode(), None, NOW).id == info.id


def test_expiry_and_revocation(store: KeyStore, clock: Clock) -> None:
    keys = Keys(NEEDED, store, {}, clock)
    key, info = keys.create(name="app", expires_at=int(NOW) + 10, **BY)
    assert keys.check(None, key.encode(), "", NOW + 9.9).id == info.id
    assert refusal(keys, None, key.encode(), NOW + 10).code == "expired_api_key"
    assert keys.revoke(info.id, **BY)
    assert refusal(keys, None, key.encode()).code == "invalid_api_key"
    assert not keys.revoke(info.id, **BY)
    with pytest.raises(NotFoundError) as unknown:
        keys.revoke("0" * 16, **BY)
    assert unknown.value.code == "key_not_found"
    assert [known.is_active(NOW) for known in keys.list()] == [False]


def test_other_processes_see_changes_at_their_next_look(tmp_path: Path, store: KeyStore, clock: Clock) -> None:
    here, there = Keys(NEEDED, store, {}, clock), another(tmp_path, clock)
    key, info = here.create(name="app", **BY)
    assert refusal(there, None, key.encode()).code == "invalid_api_key"
    there.look()
    assert there.check(None, key.encode(), "", NOW).id == info.id
    here.revoke(info.id, **BY)
    there.look()
    assert refusal(there, None, key.encode()).code == "invalid_api_key"


def test_the_thread_looks(store: KeyStore, clock: Clock) -> None:
    seen = Keys(NEEDED, store, {}, clock, poll_s=0.001)
    key, _ = store.create(name="app", **BY)
    seen.start()
    while True:
        try:
            seen.check(None, key.encode(), "", NOW)
            break
        except AuthError:
            continue
    seen.close()


def test_last_use_is_written_at_most_once_a_minute(tmp_path: Path, store: KeyStore, clock: Clock) -> None:
    keys = Keys(NEEDED, store, {}, clock)
    key, _ = keys.create(name="app", **BY)
    generation = store.generation()

    def last_used() -> int | None:
        return another(tmp_path, clock).list()[0].last_used_at

    keys.check(None, key.encode(), "", NOW + 1)
    keys.look()
    assert last_used() is None
    clock.now += USED_INTERVAL_S
    keys.look()
    assert last_used() == NOW + 1
    keys.check(None, key.encode(), "", NOW + 70)
    keys.create(name="other", **BY)  # what was used is not forgotten when keys are read anew
    keys.look()
    assert last_used() == NOW + 1
    assert store.generation() == generation + 1
    keys.close()
    assert last_used() == NOW + 70


def test_a_database_that_is_busy_or_gone_changes_nothing(
    tmp_path: Path, store: KeyStore, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    keys = Keys(NEEDED, store, {}, clock)
    key, info = keys.create(name="app", **BY)
    keys.check(None, key.encode(), "", NOW + 1)
    clock.now += USED_INTERVAL_S
    with Database(tmp_path / "xetway.db").write():
        keys.look()
    assert "older than it should be" in caplog.text
    assert keys.check(None, key.encode(), "", NOW + 2).id == info.id
    clock.now += USED_INTERVAL_S
    keys.look()
    assert keys.list()[0].last_used_at == NOW + 2
    with sqlite3.connect(tmp_path / "xetway.db") as raw:
        raw.execute("DROP TABLE api_keys_generation")
    raw.close()
    keys.look()
    assert keys.check(None, key.encode(), "", NOW + 3).id == info.id


def test_wrong_keys_leave_nothing_behind(store: KeyStore, clock: Clock) -> None:
    keys = Keys(NEEDED, store, {}, clock)
    keys.create(name="app", **BY)

    def held() -> int:
        return sum(sys.getsizeof(value) for value in vars(keys).values())

    before = held()
    for number in range(2_000):
        refusal(keys, b"Bearer xwk_%d" % number)
    assert held() == before


def test_configured_keys(tmp_path: Path, store: KeyStore, clock: Clock) -> None:
    (tmp_path / "key.txt").write_text("in a file\nand a comment\n")
    digest = hashlib.sha256(b"hidden").hexdigest()
    auth = Auth(
        enabled=True,
        keys=(
            StaticKey(name="digest", key=digest),
            StaticKey(name="variable", key_env="THE_KEY", scopes=("admin",), limit=Limit(burst=1)),
            StaticKey(name="file", key_file=tmp_path / "key.txt", models=("m",), priority="low"),
        ),
    )
    keys = Keys(auth, store, {"THE_KEY": " in a variable "}, clock)
    callers = [keys.check(None, key, "", NOW) for key in (b"hidden", b"in a variable", b"in a file")]
    assert [caller.key_name for caller in callers] == ["digest", "variable", "file"]
    assert (callers[0].limit, callers[1].limit) == (None, Limit(burst=1))
    assert (callers[2].models, callers[2].priority) == (("m",), "low")
    assert {len(caller.id) for caller in callers} == {16}
    assert refusal(keys, None, digest.encode()).code == "invalid_api_key", "a digest is no key"
    same = Keys(auth, store, {"THE_KEY": "another"}, clock)
    assert same.check(None, b"another", "", NOW).id == callers[1].id
    keys.configure(NEEDED)
    assert refusal(keys, None, b"hidden").code == "invalid_api_key"
    keys.configure(Auth())
    assert keys.check(None, b"hidden", "192.0.2.1", NOW).key_name is None


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ((StaticKey(name="a", key_env="NOT_SET"),), "the key 'a' has to be in the variable NOT_SET"),
        ((StaticKey(name="a", key_file=Path("/not/there")),), "the key 'a' has to be in the file /not/there"),
        ((StaticKey(name="a", key="hidden12"), StaticKey(name="b", key_env="SAME")), "'b' is the same key as 'a'"),
    ],
)
def test_configured_keys_that_cannot_be_used(
    store: KeyStore, clock: Clock, keys: tuple[StaticKey, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Keys(Auth(keys=keys), store, {"SAME": "hidden12"}, clock)
    assert "hidden" not in caught.value.message


def test_nothing_secret_is_stored_or_shown(tmp_path: Path, store: KeyStore, clock: Clock) -> None:
    keys = Keys(NEEDED, store, {}, clock)
    key, info = keys.create(name="app", **BY)
    caller = keys.check(None, key.encode(), "", NOW)
    digest = hashlib.sha256(key.encode())
    shown = f"{info} {caller!r} {keys!r} {list(store.log())} {refusal(keys, b'Bearer ' + key.encode() + b'x')!r}"
    for secret in (key, key[4:], digest.hexdigest(), repr(digest.digest())):
        assert secret not in shown
    store._db._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert digest.digest() in stored
    assert key[4:].encode() not in stored


def test_log_tells_who_did_what_and_is_bounded(tmp_path: Path, store: KeyStore) -> None:
    _, info = store.create(name="app", who="cafe", client="192.0.2.9")
    store.revoke(info.id, who="command line", client="-")
    lines = [(line.at, line.who, line.what, line.key_id, line.client) for line in store.log()]
    assert lines == [
        (NOW, "command line", "revoke", info.id, "-"),
        (NOW, "cafe", "generate", info.id, "192.0.2.9"),
    ]
    short = KeyStore(Database(tmp_path / "xetway.db"), max_log_lines=3)
    for number in range(5):
        short.create(name=str(number), **BY)
    assert len(list(short.log())) == 3


@pytest.mark.parametrize("values", [{"name": ""}, {"name": "a\nb"}, {"scopes": ()}, {"models": ()}, {"models": ("",)}])
def test_keys_that_cannot_be_made(store: KeyStore, values: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="a key needs a name"):
        store.create(**({"name": "a"} | values | BY))  # type: ignore[arg-type]
    assert store.list() == []
