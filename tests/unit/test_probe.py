"""The tokens of probes, and the limits of what a token allows."""

from __future__ import annotations

import pytest

from flask_ssemux.errors import Forbidden
from flask_ssemux.http import probe
from flask_ssemux.http.probe import FRAMES, SILENCE, Plan


def test_a_plan_survives_its_token():
    assert Plan.verify(Plan(3, 7.5).sign("key"), "key") == Plan(3, 7.5)


def test_no_two_tokens_are_the_same():
    assert Plan(3).sign("key") != Plan(3).sign("key")


def test_a_plan_is_bounded():
    assert Plan.verify(Plan(10**6, 10**6).sign("key"), "key") == Plan(FRAMES, SILENCE)


@pytest.mark.parametrize(
    "token",
    ["", "x", "a.b.c", Plan(3).sign("another"), Plan(3).sign("key")[:-1] + "~"],
    ids=["nothing", "a letter", "three parts", "another key", "a false end"],
)
def test_a_token_of_another_key(token):
    with pytest.raises(Forbidden) as caught:
        Plan.verify(token, "key")
    assert str(caught.value) == (
        "the probe's token was not made with this application's SECRET_KEY: run `flask ssemux doctor` with it"
    )


def test_a_token_that_is_too_old(monkeypatch):
    monkeypatch.setattr(probe, "TOKEN_SECONDS", -1)
    with pytest.raises(Forbidden, match="the probe's token is over -1 s old; are the clocks right?"):
        Plan.verify(Plan(3).sign("key"), "key")


@pytest.mark.parametrize("key", [None, "", b""])
def test_an_application_without_a_key_gives_none(key):
    with pytest.raises(Forbidden, match="there are no probes here: the application has no SECRET_KEY"):
        Plan.verify(Plan(3).sign("key"), key)


def test_an_application_without_a_key_refuses_over_http(make_app):
    answer = make_app().test_client().get("/events?ssemux_probe=" + Plan(1).sign("key"))
    assert (answer.status_code, answer.json["error"]) == (403, "forbidden")
    assert answer.json["message"] == "there are no probes here: the application has no SECRET_KEY"
