"""Identity: the applications of docs/identity.md, exactly as printed, and tickets, over real requests."""

from __future__ import annotations

import json
import re
import urllib.parse
import urllib.request

import pytest

from flask_ssemux import Publisher
from tests.harness.client import RawStream
from tests.harness.document import block, modules
from tests.harness.other_servers import need_python
from tests.harness.servers import ROOT, Gunicorn, Nginx
from tests.harness.waiting import until

ALL = ("sessions", "logins", "tokens")
LOG = ["--access-logfile", "-"]


class Shop:
    """One of the document's applications on gunicorn, with the requests of its clients."""

    def __init__(self, server, folder):
        self.server = server
        self.port = server.port
        self.publisher = Publisher("sqlite:///%s" % (folder / "instance" / "ssemux.sqlite3"))

    def post(self, path, headers, **form):
        data = urllib.parse.urlencode(form).encode()
        return urllib.request.urlopen(urllib.request.Request(self.server.url + path, data, headers), timeout=5)

    def login(self, name):
        """Return the headers of this user's requests."""
        with self.post("/login", {}, name=name) as answer:
            if answer.status == 204:
                return {"Cookie": answer.headers["Set-Cookie"].partition(";")[0]}
            return {"Authorization": "Bearer " + json.load(answer)["token"]}

    def ticket(self, name):
        with self.post("/ticket", self.login(name)) as answer:
            return json.load(answer)["ticket"]

    def stream(self, query, headers=None):
        return RawStream(self.port, "/events" + query, headers or {})


@pytest.fixture
def shop(tmp_path, running):
    """shop(name): serve the module of the document."""
    modules("identity.md", tmp_path)

    def start(name, workers=1):
        if name == "tokens":
            need_python("flask_jwt_extended")
        env = {"PYTHONPATH": "%s:%s" % (tmp_path, ROOT)}
        server = running(Gunicorn(name + ":app", workers=workers, args=LOG, env=env, cwd=tmp_path))
        made = Shop(server, tmp_path)
        running(made.publisher)
        return made

    return start


def answer(stream):
    """Return the status and message of an answer that is not a stream."""
    stream.wait_end(5)
    return stream.status, json.loads(stream.body)["message"]


@pytest.mark.parametrize("name", ALL)
def test_users_get_their_own_events_only(shop, name):
    site = shop(name)
    ann, bob = site.login("ann"), site.login("bob")
    assert answer(site.stream("?channel=orders:ann", bob))[0] == 403
    assert answer(site.stream("?channel=orders:ann"))[0] == 401
    with site.stream("?channel=orders:ann", ann) as hers, site.stream("", bob) as his, site.stream("") as nobodys:
        for stream in (hers, his, nobodys):
            stream.wait_for(b"ssemux.hello", 5)
        site.publisher.publish("orders:ann", "one")
        site.publisher.send_to_user("ann", "two")
        site.publisher.send_to_user("bob", "three")
        site.publisher.broadcast("four")
        for stream, expected in ((hers, "one two four"), (his, "three four"), (nobodys, "four")):
            stream.wait_for(b"four", 5)
            assert [event.data for event in stream.events("message")] == expected.split()


def test_an_invalid_token_opens_nothing(shop):
    site = shop("tokens")
    stream = site.stream("", {"Authorization": "Bearer %s" % site.login("ann")["Authorization"][7:-3]})
    stream.wait_end(5)
    assert stream.status == 422


def test_a_ticket_opens_one_stream_of_its_user_over_all_workers(shop):
    site = shop("tokens", workers=3)
    ticket = site.ticket("ann")
    with site.stream("?channel=orders:ann&ticket=" + ticket) as stream:
        stream.wait_for(b"ssemux.hello", 5)
        site.publisher.send_to_user("ann", "yours")
        stream.wait_for(b"yours", 5)
        for _ in range(6):
            for again in (site.stream("?ticket=" + ticket), site.stream("", {"Authorization": "Ticket " + ticket})):
                status, message = answer(again)
                assert (status, ticket in message) == (401, False)
                assert "used already" in message


def test_a_ticket_identifies_its_user_and_permits_no_channel(shop):
    site = shop("tokens")
    ticket = site.ticket("bob")
    status, message = answer(site.stream("?channel=orders:ann&ticket=" + ticket))
    assert (status, message) == (403, "you may not read the channel 'orders:ann'")
    with site.stream("", {"Authorization": "Ticket " + ticket}) as stream:  # the refused attempts do not use it up
        stream.wait_for(b"ssemux.hello", 5)


def test_no_log_contains_a_ticket(shop, running):
    site = shop("tokens")
    lines = block("identity.md", "nginx")
    location = "location / { proxy_pass http://127.0.0.1:UPSTREAM_PORT; }"
    proxy = running(
        Nginx(
            site.port,
            server="%s server { listen 127.0.0.1:LISTEN_PORT; access_log FOLDER/streams.log streams; %s }"
            % (lines, location),
        )
    )
    tickets = [site.ticket("ann") for _ in range(5)]
    queries = ["?ticket=%s", "?channel=orders:ann&ticket=%s&a=b", "?channel=orders:bob&ticket=%s", "?ticket=%s&u=/a?b"]
    for query, ticket in zip(queries, tickets):
        path = "/events" + query % ticket
        for port in (site.port, proxy.port):
            with RawStream(port, path) as stream:
                stream.wait_headers(5)
    with RawStream(site.port, "/events?%74icket=" + tickets[4]) as stream:
        stream.wait_headers(5)

    def seen(log):
        return re.findall(r"GET /events\?\S*icket=(\S{0,12})", log)

    until(lambda: len(seen(site.server.log)) == 9, 5, lambda: site.server.log_tail())
    access = proxy.folder / "streams.log"
    until(lambda: len(seen(access.read_text())) == 4, 5, access.read_text)
    for ticket in tickets:
        assert ticket not in site.server.log
        assert ticket not in access.read_text()
    assert {found[:11] for found in seen(site.server.log)} == {ticket[:8] + "..." for ticket in tickets}
