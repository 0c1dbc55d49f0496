"""Which models there are, and errors as clients read them."""

from __future__ import annotations

import json

import pytest

from xetway.errors import ConfigError, NotFoundError, RequestError
from xetway.openai import errors
from xetway.openai.catalog import Catalog
from xetway.settings import gateway

UPSTREAMS = (gateway.Upstream(url="http://127.0.0.1:1/v1"),)


def model(name: str, *aliases: str, number: int | None = None) -> gateway.Model:
    return gateway.Model(name=name, aliases=aliases, id=number, upstreams=UPSTREAMS)


def test_a_model_is_found_by_name_alias_and_number() -> None:
    catalog = Catalog([model("llama", "gpt-4", "gpt-4o"), model("embed", number=7)])
    assert [catalog.find(name).name for name in ("llama", "gpt-4", "gpt-4o", "1")] == ["llama"] * 4
    assert [catalog.find(name).name for name in ("embed", "7")] == ["embed"] * 2
    for unknown in ("", "2", "LLAMA", "gpt", "x" * 100_000):
        with pytest.raises(NotFoundError) as caught:
            catalog.find(unknown)
        assert caught.value.code == "model_not_found"
        assert len(caught.value.message) < 200


def test_a_name_wins_over_a_number_and_may_not_lead_to_two() -> None:
    assert Catalog([model("2"), model("b")]).find("2").name == "2"
    for models in ([model("a"), model("a")], [model("a", "b"), model("b")], [model("a", number=1), model("1")]):
        with pytest.raises(ConfigError, match="leads to one model"):
            Catalog(models)


def test_when_a_model_was_created_does_not_change_when_it_is_read_again() -> None:
    first = Catalog([model("a")], created={"a": 5})
    again = Catalog([model("a"), model("b")], created=first.created)
    assert again.describe(again.find("a")).created == 5
    assert again.describe(again.find("b")).created > 5


def test_errors_have_the_shape_that_clients_read() -> None:
    error = RequestError("slow down", code="busy", status=503, headers=(("retry-after", "5"),))
    answer = errors.response(error)
    assert (answer.status, dict(answer.headers)["retry-after"]) == (503, "5")
    assert json.loads(answer.body) == {
        "error": {"message": "slow down", "type": "service_unavailable", "code": "busy", "param": None}
    }
    event = errors.event(NotFoundError("no such model", code="model_not_found"))
    assert event.startswith(b"data: {")
    assert event.endswith(b"}\n\n")
    assert json.loads(event[6:])["error"]["param"] == "model"
    assert [errors.kind(status) for status in (400, 401, 403, 404, 429, 500, 503)] == [
        "invalid_request_error",
        "authentication_error",
        "permission_error",
        "not_found_error",
        "rate_limit_error",
        "server_error",
        "service_unavailable",
    ]
