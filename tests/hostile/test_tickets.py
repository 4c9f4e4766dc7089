"""Tickets that are forged, changed, stolen from elsewhere, or used by many clients at once."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from itsdangerous import URLSafeSerializer, URLSafeTimedSerializer

from tests.hostile import wild
from tests.hostile.corpus import get, quoted

#: How many clients use one ticket at the same time.
CROWD = 30

FAR = 10**12
SECRET = "for tests"
"""The SECRET_KEY of tests/apps/fortress.py."""


@pytest.fixture(scope="module")
def site(fortress):
    found = fortress(SSEMUX_HEARTBEAT="60", SSEMUX_CLIENT_TIMEOUT="200")
    yield found
    assert "Traceback" not in found.server.log


@pytest.fixture(scope="module")
def broken(fortress):
    """A server for requests that fail, whose log may have tracebacks."""
    return fortress(SSEMUX_HEARTBEAT="60", SSEMUX_CLIENT_TIMEOUT="200")


def show(site, ticket, *headers, channel=""):
    target = b"/events?ticket=%s%s" % (quoted(ticket), b"&channel=" + quoted(channel) if channel else b"")
    return wild.send(site.port, get(target, *headers), until=b"ssemux.hello")


def refused(reply):
    return reply.status == 401 and json.loads(reply.body)["error"] == "bad_ticket"


FORGED = {
    "another key": URLSafeSerializer("another", salt="flask_ssemux.ticket").dumps(["x", FAR, "root", None]),
    "no key": URLSafeSerializer("", salt="flask_ssemux.ticket").dumps(["x", FAR, "root", None]),
    "a session's salt": URLSafeSerializer(SECRET, salt="cookie-session").dumps(["x", FAR, "root", None]),
    "a session": URLSafeTimedSerializer(SECRET, salt="cookie-session").dumps({"user_id": "root"}),
    "the doctor's": URLSafeTimedSerializer(SECRET, salt="flask_ssemux.probe").dumps([20, 1.0, "x"]),
    "no signature": "WyJ4IiwxMDAwMDAwMDAwMDAwLCJyb290IixudWxsXQ",
    "an empty signature": "WyJ4IiwxMDAwMDAwMDAwMDAwLCJyb290IixudWxsXQ.",
    "JSON": '["x",1000000000000,"root",null]',
    "nothing": "",
    "a bomb": ".eJzt" + "A" * 2000,
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_one(site, name):
    assert refused(show(site, FORGED[name]))


@pytest.fixture(scope="module")
def good(site):
    return site.post("/ticket", ["ann", None, 600])


@settings(max_examples=150, deadline=None)
@given(
    position=st.integers(0, 150),
    by=st.one_of(st.just(""), st.sampled_from("Aa0_-.=~"), st.characters(categories=["L", "N", "P", "Zs"])),
    fewer=st.integers(0, 1),
)
def test_a_changed_one(site, good, position, by, fewer):
    """One character is replaced, left out or added."""
    position %= len(good)
    changed = good[:position] + by + good[position + fewer :]
    reply = show(site, changed)
    assert refused(reply) or changed == good or is_same_to_base64(good, changed), (good, changed, reply)


def is_same_to_base64(good, changed):
    """The last character of a signature has unused bits."""
    return len(good) == len(changed) and good[:-1] == changed[:-1]


def test_it_is_its_users_alone(site):
    """The ticket identifies its bearer, whatever else the request says; it permits nothing that no rule permits."""
    stream = site.stream("/events?ticket=" + site.post("/ticket", ["ann", ["room:1"], 60]), headers={"X-User": "root"})
    with stream:
        stream.wait_for(b"ssemux.hello", 5)
        site.publish(["user:root", "for root", None], ["user:ann", "for ann", None], ["*", "the end", None])
        stream.wait_for(b"data: the end\n", 5)
        assert b"for ann" in stream.body and b"for root" not in stream.body
    for channel in ("room:2", "closed:1", "user:root"):
        ticket = site.post("/ticket", ["ann", ["room:1", "closed:1"], 60])
        assert show(site, ticket, channel=channel).status == 403
        assert show(site, ticket, channel="room:1").status == 200  # a refusal does not use the ticket up


def test_it_is_in_no_log(site):
    good = site.post("/ticket", ["ann", None, 60])
    for ticket in (good, good, good[:-3]):
        show(site, ticket)
    signed = good.rpartition(".")[2]
    site.server.wait_log(r"ticket=%s\.\.\." % good[:8], 5)
    assert signed not in site.server.log and signed[:-3] not in site.server.log


#: Requests for URLs of no stream, or for a stream's URL with another method. ``%s`` is the ticket.
NEAR = [
    b"GET /events/?ticket=%s",
    b"GET /events/x?channel=a&ticket=%s",
    b"GET /event?ticket=%s",
    b"GET /?ticket=%s",
    b"GET /ping?ticket=%s",
    b"GET /events%%3Fticket=%s",
    b"GET /events%%3fchannel%%3Da%%26ticket%%3D%s",
    b"GET /events;ticket=%s",
    b"GET /events?x=1;ticket=%s",
    b"GET /events?t%%69cket=%s",
    b"GET http://127.0.0.1/events/?ticket=%s",
    b"GET //events?ticket=%s",
    b"HEAD /events?ticket=%s",
    b"POST /events?ticket=%s",
    b"BREW /events/?ticket=%s",
    b"OPTIONS /events?ticket=%s",
    b"GET /slashed?ticket=%s",
    b"GET /slashed/?ticket=%s",
    b"GET /fixed/a/stream?ticket=%s",
    b"GET /fixed/a:b/stream?ticket=%s",
    b"GET /events/ssemux.js?ticket=%s",
    b"GET /events/status?ticket=%s",
    b"GET /broken?ticket=%s",
    b"GET /undone?ticket=%s",
    b"GET /events?ssemux_probe=x&ticket=%s",
    b"GET /events?poll=1&channel=closed:1&ticket=%s",
]


@pytest.mark.parametrize("line", NEAR, ids=lambda line: line.decode().replace("%s", "T"))
def test_it_is_in_no_log_whatever_the_url(broken, line):
    good = broken.post("/ticket", ["ann", None, 60])
    referer = b"Referer: http://127.0.0.1/page?a=b&ticket=%s" % good.encode()
    request = b"%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n\r\n" % (line % good.encode(), referer)
    wild.send(broken.port, request, until=b"ssemux.hello", patience=5)
    broken.server.wait_log(r"page\?a=b&ticket=%s\.\.\." % good[:8], 5)
    assert good.rpartition(".")[2] not in broken.server.log


@pytest.mark.engines("sqlite", "postgres", "cluster")
def test_of_many_at_once_it_lets_in_one(fortress, broker_url):
    """The clients ask three workers."""
    site = fortress(3, SSEMUX_BROKER=broker_url)
    with ThreadPoolExecutor(CROWD) as crowd:
        for _ in range(3):
            ticket = site.post("/ticket", ["ann", None, 60])
            answers = list(crowd.map(lambda _, ticket=ticket: show(site, ticket), range(CROWD)))
            assert sum(b"ssemux.hello" in reply.body for reply in answers) == 1
            assert sum(map(refused, answers)) == CROWD - 1
