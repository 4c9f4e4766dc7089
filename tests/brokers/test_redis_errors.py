"""What errors say that come from a Redis server: the fix, and nothing of an event or a password."""

from __future__ import annotations

import socketserver
import threading

import pytest

from flask_ssemux.brokers import open_broker
from flask_ssemux.brokers.redis.refusal import describe_error
from flask_ssemux.errors import BrokerUnavailable
from flask_ssemux.util.supervise import survive
from tests.harness.redis import RedisServer
from tests.harness.waiting import until

BODY = b"channel: cards\ndata: 4111-1111\n\n"
PRIVATE = ("cards", "4111", "s3cret")


def assert_nothing_private(*texts):
    for text in texts:
        assert not any(word in str(text) for word in PRIVATE), text


# -- servers that quote what they do not accept ---------------------------------

#: How servers and proxies quote: all arguments follow.
FORMS = (
    "ERR unknown command '%s', with args beginning with: %s",
    "ERR unsupported command %s: %s",
    "ERR command `%s` is not permitted for this user: `%s`",
    'NOPERM "%s" "%s"',
    "ERR 'bad' %s\\r\\n%s",
)


class Quoting(socketserver.StreamRequestHandler):
    """Refuses every command, and quotes all of it, as some proxies and servers of other makers do."""

    def handle(self):
        for line in iter(self.rfile.readline, b""):
            words = [self.read_word() for _ in range(int(line[1:]))]
            text = self.server.form % (words[0].decode(), b" ".join(words[1:]).decode("utf-8", "replace"))
            self.wfile.write(b"-%s\r\n" % text.replace("\r", " ").replace("\n", " ").encode())

    def read_word(self):
        length = int(self.rfile.readline()[1:])
        return self.rfile.read(length + 2)[:-2]


@pytest.fixture
def quoting(opened):
    """quoting(form): the port of a server that answers in this form."""
    servers = []

    def serve(form):
        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Quoting)
        server.daemon_threads, server.form = True, form
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return server.server_address[1]

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("form", FORMS)
def test_a_server_that_quotes_commands(quoting, opened, recorder, form):
    port = quoting(form)
    for login in ("", "shop:s3cret-word@"):
        broker = open_broker("redis://%s127.0.0.1:%d" % (login, port))
        opened(broker)
        for _ in range(2):  # the script's text, and then its hash
            with pytest.raises(BrokerUnavailable) as raised:
                broker.history.append_event("cards", BODY)
            assert_nothing_private(raised.value, raised.value.__cause__)
            assert str(raised.value).startswith("the Redis store redis://")
        with pytest.raises(BrokerUnavailable) as raised:
            broker.history.start_delivery(recorder.listener)
        assert_nothing_private(raised.value)


def test_a_login_that_a_server_quotes_is_not_logged(running, opened, recorder):
    """The server is restarted under a broker that delivers, and does not know the login any more."""
    server = running(RedisServer(aof=False))
    server.ask("ACL", "SETUSER", "shop", "on", ">s3cret-word", "~*", "&*", "+@all")
    broker = open_broker("redis://shop:s3cret-word@127.0.0.1:%d" % server.port)
    opened(broker)
    broker.history.start_delivery(recorder.listener)
    broker.history.subscribe_channels(["cards"])
    server.args += ["--rename-command", "AUTH", ""]
    server.restart()
    until(lambda: recorder.losses, 10, "the loss is not reported")
    with pytest.raises(BrokerUnavailable) as raised:
        broker.history.append_event("cards", BODY)
    assert "unknown command" in str(raised.value)
    assert_nothing_private(raised.value, *recorder.losses)
    seen = []

    def is_refused_by_the_new_server():
        with pytest.raises(BrokerUnavailable) as raised:
            broker.history.subscribe_channels(["other"])
        seen.append(str(raised.value))
        return "unknown command" in seen[-1]

    until(is_refused_by_the_new_server, 10, lambda: str(seen[-1:]))
    assert_nothing_private(*seen)


def test_a_password_that_the_url_lacks(running, opened, recorder):
    server = running(RedisServer(aof=False, password="s3cret"))
    broker = open_broker("redis://127.0.0.1:%d" % server.port)
    opened(broker)
    history, errors = broker.history, []
    for call in (lambda: history.append_event("a", BODY), history.get_newest_cursor,
                 lambda: history.start_delivery(recorder.listener)):  # fmt: skip
        with pytest.raises(BrokerUnavailable) as raised:
            call()
        errors.append(str(raised.value))
    assert all(text.endswith("(the server needs a password: redis://:password@host:6379/0)") for text in errors), errors


@pytest.mark.parametrize("message", [b"e 4111-1111 k\n" + BODY, b"e 1 k\xff4111-1111", BODY])
def test_a_message_of_another_program_is_not_logged(redis, shared_redis, recorder, caplog, message):
    broker = redis()
    broker.history.start_delivery(recorder.listener)
    broker.history.subscribe_channels(["a"])
    shared_redis.ask("PUBLISH", broker._store.announced + "a", message)
    broker.history.append_event("a", b"x")
    recorder.wait(1)
    assert "an announcement on Redis was not understood" in caplog.text
    assert_nothing_private(caplog.text)


def test_data_that_is_no_text_is_not_logged(caplog):
    try:
        (BODY + b"\xff").decode()
    except UnicodeDecodeError as error:
        survive("an event could not be read", error)
    assert "an event could not be read: UnicodeDecodeError('utf-8' codec can't decode byte 0xff" in caplog.text
    assert_nothing_private(caplog.text)


@pytest.mark.parametrize(
    "text, shown",
    [
        ("You can't write against a read only replica.",) * 2,
        ("Redis is configured to save, but it's currently unable to persist",) * 2,
        ("this user has no permissions to run the 'eval' command",) * 2,
        ("replica-serve-stale-data is set to 'no'.",) * 2,
        ("user 'shop' is disabled", "user …"),
        ("Protocol Error: b'4111'", "Protocol Error: b …"),
        ("unknown command `EVAL`, with args beginning with: `local", "unknown command `EVAL`"),
        ("unknown command 'EVAL' 'local", "unknown command 'EVAL' …"),
        ("refused: data: {\\n  4111", "refused …"),
        ("refused: DATA: 4111",) * 2,
    ],
)
def test_what_is_shown_of_a_servers_text(text, shown):
    assert describe_error(text, (), (b"data: {\n  4111", "x", 7, None)) == shown
