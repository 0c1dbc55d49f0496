"""Xet tokens and signed xorb addresses: what they open, and everything they must not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xetway.cas.signing import TOKEN_LEEWAY_S, TOKEN_LIFE_S, URL_LIFE_S, UrlSigner, XetTokens
from xetway.db import Database
from xetway.errors import AuthError, ForbiddenError

XORB = "ab" * 32


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def db(tmp_path: Path) -> Database:
    return make_db(tmp_path)


def make_db(folder: Path) -> Database:
    """A database with the public repositories 1 to 7, and the Hub token 1."""
    db = Database(folder / "xetway.db")
    with db.write() as tx:
        for name in "abcdefg":
            tx.execute(
                "INSERT INTO repos (type, namespace, name, private, created_by, created_at, updated_at) "
                "VALUES ('model', 'x', ?, 0, 'ada', 0, 0)",
                (name,),
            )
        tx.execute(
            "INSERT INTO tokens (name, user, scope, patterns, digest, created_at) "
            "VALUES ('t', 'ada', 'write', '[]', zeroblob(32), 0)"
        )
    return db


def test_token_round_trip_keeps_repository_scope_and_user(db: Database, clock: Clock) -> None:
    tokens = XetTokens(db, clock)
    token, exp = tokens.issue(7, "write", "ada")
    grant = tokens.check_write(f"Bearer {token}")
    assert (grant.repo_id, grant.scope, grant.user, grant.exp) == (7, "write", "ada", exp)
    assert exp == int(clock.now) + TOKEN_LIFE_S


def test_token_is_accepted_by_another_process_on_the_same_data(db: Database, tmp_path: Path) -> None:
    token, _ = XetTokens(db).issue(1, "read", "ada")
    assert XetTokens(Database(tmp_path / "xetway.db")).check(f"Bearer {token}").repo_id == 1


def test_token_of_another_installation_is_refused(db: Database, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    token, _ = XetTokens(make_db(tmp_path / "other")).issue(1, "read", "ada")
    with pytest.raises(AuthError) as caught:
        XetTokens(db).check(f"Bearer {token}")
    assert caught.value.code == "invalid_token"


def test_token_outlives_its_expiry_by_the_leeway_and_no_longer(db: Database, clock: Clock) -> None:
    tokens = XetTokens(db, clock)
    token, exp = tokens.issue(1, "read", "ada")
    clock.now = exp + TOKEN_LEEWAY_S
    assert tokens.check(f"Bearer {token}").repo_id == 1
    clock.now += 1
    with pytest.raises(AuthError) as caught:
        tokens.check(f"Bearer {token}")
    assert (caught.value.status, caught.value.code) == (401, "expired_token")


def change(db: Database, statement: str) -> None:
    with db.write() as tx:
        tx.execute(statement)


@pytest.mark.parametrize(
    ("token_id", "statement"),
    [
        (1, "UPDATE tokens SET revoked_at = 1"),
        (0, "UPDATE repos SET private = 1"),
        (0, "DELETE FROM repos WHERE id = 1"),
        (1, "DELETE FROM repos WHERE id = 1"),
    ],
)
def test_token_ends_with_the_right_it_was_given_for(db: Database, token_id: int, statement: str) -> None:
    tokens = XetTokens(db)
    token, _ = tokens.issue(1, "read", "ada", token_id)
    assert tokens.check(f"Bearer {token}").token_id == token_id
    change(db, statement)
    with pytest.raises(AuthError) as caught:
        tokens.check(f"Bearer {token}")
    assert (caught.value.status, caught.value.code) == (401, "right_withdrawn")


def test_token_of_an_owner_survives_hiding_and_expiry_of_the_hub_token(db: Database) -> None:
    tokens = XetTokens(db)
    token, _ = tokens.issue(1, "write", "ada", 1)
    change(db, "UPDATE repos SET private = 1")
    change(db, "UPDATE tokens SET expires_at = 1")
    assert tokens.check_write(f"Bearer {token}").repo_id == 1


def test_read_token_cannot_write(db: Database) -> None:
    tokens = XetTokens(db)
    token, _ = tokens.issue(1, "read", "ada")
    with pytest.raises(ForbiddenError) as caught:
        tokens.check_write(f"Bearer {token}")
    assert caught.value.status == 403


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic abc.def", "Bearer xet_.", "Bearer xet_a.b", "Bearer \xff.\xfe"]
)
def test_header_that_is_no_token_is_401(db: Database, header: str | None) -> None:
    with pytest.raises(AuthError) as caught:
        XetTokens(db).check(header)
    assert caught.value.status == 401


def test_changing_any_character_of_a_token_is_refused(db: Database) -> None:
    tokens = XetTokens(db)
    token, _ = tokens.issue(1, "read", "ada")
    body = token.removeprefix("xet_")
    for at, old in enumerate(body):
        new = "A" if old != "A" else "z"
        changed = "xet_" + body[:at] + new + body[at + 1 :]
        try:
            grant = tokens.check(f"Bearer {changed}")
        except AuthError:
            continue
        # The last character of a base64 group may hold unused bits: the same bytes, the same grant.
        assert grant == tokens.check(f"Bearer {token}")


SPANS = ((10, 20), (30, 31))


def _query(signer: UrlSigner) -> dict[str, str]:
    return dict(part.split("=", 1) for part in signer.query(XORB, SPANS).split("&"))


def test_url_opens_its_own_ranges(db: Database) -> None:
    signer = UrlSigner(db)
    fields = _query(signer)
    assert signer.check(XORB, fields["b"], fields["e"], fields["s"]) == SPANS


def test_url_repeats_within_the_hour_so_that_caches_can_use_it(db: Database, clock: Clock) -> None:
    signer = UrlSigner(db, clock)
    clock.now = 1_700_000_000 // 3600 * 3600.0
    first = signer.query(XORB, SPANS)
    clock.now += 3599
    assert signer.query(XORB, SPANS) == first


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f | {"b": "0-20,30-31"},
        lambda f: f | {"b": "10-20,30-32"},
        lambda f: f | {"b": "10-20"},
        lambda f: f | {"b": "10-20,30-31,40-41"},
        lambda f: f | {"b": f"10-20,30-31 {f['e']}", "e": ""},
        lambda f: f | {"b": ""},
        lambda f: f | {"e": str(int(f["e"]) + 1)},
        lambda f: f | {"s": f["s"][:-2] + "AA"},
        lambda f: f | {"s": ""},
        lambda f: f | {"s": "é"},
    ],
)
def test_changed_url_is_403(db: Database, change: Callable[[dict[str, str]], dict[str, str]]) -> None:
    signer = UrlSigner(db)
    fields = change(_query(signer))
    with pytest.raises(ForbiddenError) as caught:
        signer.check(XORB, fields["b"], fields["e"], fields["s"])
    assert caught.value.code == "bad_signature"


def test_url_of_another_xorb_is_403(db: Database) -> None:
    signer = UrlSigner(db)
    fields = _query(signer)
    with pytest.raises(ForbiddenError):
        signer.check("cd" * 32, fields["b"], fields["e"], fields["s"])


def test_url_expires(db: Database, clock: Clock) -> None:
    signer = UrlSigner(db, clock)
    fields = _query(signer)
    clock.now += URL_LIFE_S
    assert signer.check(XORB, fields["b"], fields["e"], fields["s"]) == SPANS
    clock.now += 3601
    with pytest.raises(ForbiddenError) as caught:
        signer.check(XORB, fields["b"], fields["e"], fields["s"])
    assert (caught.value.status, caught.value.code) == (403, "expired_url")


@given(st.text(), st.text(), st.text())
def test_no_text_in_the_query_is_an_internal_error(
    tmp_path_factory: pytest.TempPathFactory, b: str, e: str, s: str
) -> None:
    signer = UrlSigner(Database(tmp_path_factory.getbasetemp() / "signing.db"))
    with pytest.raises(ForbiddenError):
        signer.check(XORB, b, e, s)
