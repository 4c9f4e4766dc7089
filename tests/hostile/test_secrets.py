"""What a client learns of events that it may not read: by their sequence that they exist, and nothing else."""

from __future__ import annotations

import json

import pytest

from flask_ssemux.errors import BrokerBehind, BrokerUnavailable
from tests.hostile import wild
from tests.hostile.corpus import get, quoted

#: What only its reader may see; it is in channels, data and event names.
SECRET = "s3cr3t"


@pytest.fixture(scope="module")
def site(fortress):
    return fortress(SSEMUX_HEARTBEAT="60", SSEMUX_CLIENT_TIMEOUT="200", SSEMUX_HISTORY_EVENTS="5")


@pytest.fixture(scope="module")
def busy(site):
    """A server with events, readers and users that others may not know of."""
    reader = site.stream("/events?channel=room:" + SECRET, headers={"X-User": SECRET})
    reader.wait_for(b"ssemux.hello", 5)
    say(site)
    reader.wait_events(5, 5)
    yield site
    reader.close()


def say(site):
    channels = ["closed:" + SECRET, "user:" + SECRET, "room:" + SECRET, "user:ann:" + SECRET]
    site.publish(*([channel, {SECRET: SECRET}, SECRET] for channel in channels * 3))


def ask(site, channel, user=b""):
    headers = (b"X-User: " + user,) if user else ()
    reply = wild.send(site.port, get(b"/events?channel=" + quoted(channel), *headers))
    return reply.status, {**reply.headers, "date": ""}, reply.body


@pytest.mark.parametrize("user", [b"", b"ann"])
@pytest.mark.parametrize("kind", ["closed:", "user:", "other:", "ssemux.", "closed:a:"])
def test_a_refusal_does_not_tell_whether_a_channel_exists(busy, kind, user):
    """The two channels have names of the same length, because the sizes of the answers are compared, too."""
    real, unreal = (ask(busy, kind + name, user) for name in (SECRET, "nobody"))
    assert real[0] in (400, 401, 403)
    assert real[2].replace(SECRET.encode(), b"nobody") == unreal[2]
    assert real[:2] == unreal[:2]


CURSORS = ["", "nonsense", "abcdefgh-1", "{epoch}-0", "{epoch}-1", "{epoch}-3", "{epoch}-999999"]


@pytest.mark.parametrize("cursor", CURSORS)
@pytest.mark.parametrize("user", ["", "ann"])
def test_a_stream_tells_nothing_of_others_but_how_many_events_there_were(busy, cursor, user):
    epoch = busy.publish(["*", "x", None])[0]["cursor"].partition("-")[0]
    headers = {"X-User": user, "Last-Event-ID": cursor.format(epoch=epoch)}
    with busy.stream("/events?channel=room:mine", headers={k: v for k, v in headers.items() if v}) as stream:
        stream.wait_for(b"ssemux.hello", 5)
        say(busy)
        (last,) = busy.publish(["*", "the end", None])
        stream.wait_for(b"data: the end\n", 5)
        body = stream.body
    assert SECRET.encode() not in body
    own = ["room:mine", "user:ann", "*"] if user else ["room:mine", "*"]
    for event in stream.events("ssemux.reset"):
        reset = json.loads(event.data)
        assert set(reset) == {"channels", "reason"} and set(reset["channels"]) <= set(own)
    assert stream.events()[-1].id == last["cursor"]


@pytest.mark.parametrize("error", [BrokerBehind, BrokerUnavailable])
def test_a_broker_in_trouble_is_not_named_to_clients(make_client, monkeypatch, caplog, error):
    """The address of the store is in the log, and not in the answer."""
    client, worker = make_client()
    address = "redis://redis.internal:6379/0"

    def fail(*_, **__):
        raise error("the Redis store %s does not answer" % address)

    monkeypatch.setattr(worker.running().hub, "open_stream", fail)
    answer = client.get("/events")
    assert answer.status_code == 200 and b"redis" not in answer.get_data().lower()
    assert address in caplog.text


@pytest.fixture
def make_client(tmp_path):
    import flask

    import flask_ssemux

    def make():
        app = flask.Flask("secretive", instance_path=str(tmp_path))
        app.config["SSEMUX_BROKER"] = "memory:"
        flask_ssemux.init_app(app)
        return app.test_client(), app.extensions["ssemux"].worker

    return make
