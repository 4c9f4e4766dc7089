"""``flask ssemux …`` through Click's runner: the output, and each error in one line."""

from __future__ import annotations

import json
import os

import pytest

import flask_ssemux
from flask_ssemux.brokers import open_broker
from flask_ssemux.sse.cursor import Cursor


@pytest.fixture
def app(make_app):
    return make_app(SSEMUX_BROKER="sqlite:")


@pytest.fixture
def ssemux(app):
    """ssemux("publish", …): the command's result."""

    def run(*arguments, **options):
        return app.test_cli_runner().invoke(args=("ssemux",) + arguments, **options)

    return run


def printed(result):
    assert result.exit_code == 0, result.output
    return result.output


def refused(result, code=1):
    """The last line of the output, which has no traceback."""
    assert (result.exit_code, result.exc_info[0]) == (code, SystemExit)
    assert "Traceback" not in result.output
    return result.output.splitlines()[-1]


def publish(app, *events):
    with app.app_context():
        return [flask_ssemux.publish(*event) for event in events]


def kept(app):
    broker = app.extensions["ssemux"].worker.broker
    return [
        (channel, body)
        for _, channel, body, _ in broker.history.read_events(["jobs", "user:7", "*"], 0, 10**9, 100).records
    ]


# -- publish -----------------------------------------------------------------


def test_publish_latest_replaces_the_earlier_event(app, ssemux):
    for arguments in (["jobs", "1"], ["--user", "7", "2"], ["--everyone", "3"]):
        for _ in range(2):
            printed(ssemux("publish", *arguments, "--event", "p", "--latest"))
    assert [channel for channel, _ in kept(app)] == ["jobs", "user:7", "*"]


# -- presence ----------------------------------------------------------------


def test_presence(app, ssemux):
    app.extensions["ssemux"].rules.presence.add_rule("jobs", False, 10.0)
    assert printed(ssemux("presence", "jobs")) == ""
    app.extensions["ssemux"].worker.broker.presence.announce_presence(
        {("jobs", "bob"): 1, ("jobs", ""): 12, ("jobs", "ann"): 2}, 60.0
    )
    assert [line.split() for line in printed(ssemux("presence", "jobs")).splitlines()] == [
        ["ann", "2"], ["bob", "1"], ["(anonymous)", "12"]
    ]  # fmt: skip
    shown = json.loads(printed(ssemux("presence", "jobs", "--json")))
    assert shown == {"users": {"ann": 2, "bob": 1}, "visitors": 12}


def test_presence_of_a_channel_that_is_not_tracked_is_refused(ssemux):
    assert refused(ssemux("presence", "jobs")) == (
        "Error: presence on the channel 'jobs' is not tracked: call mux.track_presence('jobs'), or with a pattern that "
        "matches it, where the application is set up"
    )


# -- what is stored ----------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, channel, body",
    [
        (["jobs", "x"], "jobs", b"channel: jobs\ndata: x\n\n"),
        (["jobs", "x", "--event", "p"], "jobs", b"event: p\nchannel: jobs\ndata: x\n\n"),
        (["*", "x"], "*", b"data: x\n\n"),
        (["--everyone", "x"], "*", b"data: x\n\n"),
        (["--user", "7", "x"], "user:7", b"data: x\n\n"),
        (["jobs", ""], "jobs", b"channel: jobs\ndata: \n\n"),
        (["jobs", "a\nb"], "jobs", b"channel: jobs\ndata: a\ndata: b\n\n"),
        (["jobs", '{"a": [1]}'], "jobs", b'channel: jobs\ndata: {"a": [1]}\n\n'),
        (["jobs", '{"a": [1]}', "--json"], "jobs", b'channel: jobs\ndata: {"a":[1]}\n\n'),
        (["jobs", '"text"', "--json"], "jobs", b"channel: jobs\ndata: text\n\n"),
    ],
)
def test_publish(app, ssemux, arguments, channel, body):
    cursor = printed(ssemux("publish", *arguments)).strip()
    assert Cursor.parse(cursor).sequence == 1
    assert kept(app) == [(channel, body)]


@pytest.mark.parametrize("where", [["jobs"], ["--user", "7"], ["--everyone"]])
def test_publish_from_standard_input(app, ssemux, where):
    printed(ssemux("publish", *where, input='{"a": 1}\n'))
    printed(ssemux("publish", "--json", *where, input='{"a": 1}\n'))
    assert [body.split(b"data: ", 1)[1] for _, body in kept(app)] == [b'{"a": 1}\ndata: \n\n', b'{"a":1}\n\n']


@pytest.mark.parametrize(
    "arguments",
    [[], ["--user", "7", "jobs", "x"], ["--everyone", "jobs", "x"], ["--user", "7", "--everyone", "x"]],
)
def test_publish_needs_exactly_one_receiver(app, ssemux, arguments):
    assert refused(ssemux("publish", *arguments), 2) == (
        "Error: name the receivers: CHANNEL, or --user ID, or --everyone"
    )
    assert kept(app) == []


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["", "x"], "a channel is a text of 1 to 255 characters, not ''"),
        (["a\nb", "x"], r"channel 'a\nb' has a line break or NUL in it, which would forge a field"),
        (
            ["jobs", "x", "--event", "ssemux.x"],
            "event names that begin with 'ssemux.' are flask_ssemux's own; rename 'ssemux.x'",
        ),
        (["--user", "", "x"], "a user's id may not be empty; use None for an anonymous visitor"),
        (
            ["jobs", "x" * 262144],
            "an event has at most 262144 bytes (SSEMUX_MAX_EVENT_BYTES); this one for channel 'jobs' has 262166; send "
            "a link to the data instead",
        ),
    ],
    ids=range(5),
)
def test_publish_refuses_invalid_events(app, ssemux, arguments, message):
    assert refused(ssemux("publish", *arguments)) == "Error: " + message
    assert kept(app) == []


@pytest.mark.parametrize("text", ["{", "", "{'a': 1}"])
def test_json_is_checked(app, ssemux, text):
    assert refused(ssemux("publish", "jobs", text, "--json"), 2).startswith("Error: DATA is not JSON: ")
    assert kept(app) == []


def test_json_that_browsers_cannot_parse_is_refused(app, ssemux):
    assert refused(ssemux("publish", "jobs", "[NaN]", "--json")).startswith(
        "Error: data must be text or what JSON can express; data[0] is nan"
    )


# -- tail --------------------------------------------------------------------


def test_tail_of_the_whole_history(app, ssemux):
    at = publish(app, ("jobs", "a", "p"), ("other", "b"), ("*", "c\n"))
    assert printed(ssemux("tail", "jobs", "*", "--after", "0", "--no-follow")) == (
        "id: %s (jobs)\nevent: p\nchannel: jobs\ndata: a\nid: %s (*)\ndata: c\ndata: \n" % (at[0], at[2])
    )


def test_tail_after_an_event(app, ssemux):
    at = publish(app, ("jobs", "a"), ("jobs", "b"))
    assert printed(ssemux("tail", "jobs", "--after", at[0], "--no-follow")) == (
        "id: %s (jobs)\nchannel: jobs\ndata: b\n" % at[1]
    )


def test_tail_starts_now(app, ssemux):
    publish(app, ("jobs", "a"))
    assert printed(ssemux("tail", "jobs", "--no-follow")) == ""


def test_tail_of_more_than_one_page(app, ssemux):
    publish(app, *[("jobs", str(number)) for number in range(1001)])
    said = printed(ssemux("tail", "jobs", "--after", "0", "--no-follow")).splitlines()
    assert [line for line in said if line.startswith("data")] == ["data: %d" % number for number in range(1001)]


def test_tail_reports_trimmed_events(make_app):
    app = make_app(SSEMUX_BROKER="sqlite:", SSEMUX_HISTORY_EVENTS=1)
    at = publish(app, *[("jobs", str(number)) for number in range(5)])
    result = app.test_cli_runner().invoke(args=["ssemux", "tail", "jobs", "--after", at[0], "--no-follow"])
    assert "(events of jobs after %s are no longer kept)\n" % at[0] in result.output
    assert "data: 4" in result.output


def test_tail_needs_a_channel(ssemux):
    assert refused(ssemux("tail"), 2) == "Error: name the channels to follow, such as: flask ssemux tail jobs '*'"


@pytest.mark.parametrize("after", ["abcd-7", "junk", "", "-1", "7"])
def test_tail_refuses_an_invalid_cursor(app, ssemux, after):
    (at,) = publish(app, ("jobs", "a"))
    assert refused(ssemux("tail", "jobs", "--no-follow", "--after", after), 2) == (
        "Error: %r is not a cursor of this broker's history; the newest one is %s" % (after, at)
    )


def test_tail_refuses_an_invalid_channel(ssemux):
    assert refused(ssemux("tail", "a\nb", "--no-follow")) == (
        r"Error: channel 'a\nb' has a line break or NUL in it, which would forge a field"
    )


# -- status ------------------------------------------------------------------


def test_status(app, ssemux):
    (at,) = publish(app, ("jobs", "a"))
    rows = dict(line.split(None, 1) for line in printed(ssemux("status")).splitlines())
    assert (rows["broker"], rows["cursor"], rows["events"], rows["channels"]) == ("sqlite", at, "1", "1")
    assert (rows["SSEMUX_HEARTBEAT"], rows["SSEMUX_LIFETIME"]) == ("20.0", "off")
    assert rows["file"] == app.instance_path + "/ssemux.sqlite3"


def test_status_of_workers(app, ssemux):
    assert "\nworkers                      0\n" in printed(ssemux("status"))
    figures = {"pid": 7, "host": "a", "streams": 3, "late": 1, "longest_late": 2.5}
    app.extensions["ssemux"].worker.broker.reports.write_report(figures)
    said = printed(ssemux("status"))
    assert "\nworkers                      1\nstreams                      3\n" in said
    assert "\nworker                       7 on a, streams 3, handed over 0, " in said
    shown = json.loads(printed(ssemux("status", "--json")))
    assert (shown["totals"]["workers"], shown["totals"]["late"], shown["workers"][0]["pid"]) == (1, 1, 7)


def test_status_as_json(app, ssemux):
    (at,) = publish(app, ("jobs", "a"))
    shown = json.loads(printed(ssemux("status", "--json")))
    assert (shown["broker"]["cursor"], shown["broker"]["held"]) == (at, 0)
    assert (shown["options"]["SSEMUX_RETRY"], shown["options"]["SSEMUX_MAX_STREAMS"]) == (3000, None)


# -- commands that only look --------------------------------------------------


def list_files(app):
    return sorted(os.listdir(app.instance_path)) if os.path.exists(app.instance_path) else None


def test_looks_make_no_file(app, ssemux):
    """A file would belong to the user of the command, often root, and the server could not use it."""
    app.extensions["ssemux"].rules.presence.add_rule("jobs", False, 10.0)
    rows = dict(line.split(None, 1) for line in printed(ssemux("status")).splitlines())
    assert (rows["file"], rows["exists"]) == (app.instance_path + "/ssemux.sqlite3", "False")
    assert json.loads(printed(ssemux("status", "--json")))["broker"]["exists"] is False
    assert printed(ssemux("presence", "jobs")) == ""
    assert refused(ssemux("tail", "jobs")) == (
        "Error: the SQLite store %s/ssemux.sqlite3: there is no store yet: the first stream or event makes it"
        % app.instance_path
    )
    assert ssemux("doctor").exit_code == 0
    assert list_files(app) is None


def test_looks_at_a_store_change_no_file(app, ssemux):
    with flask_ssemux.Publisher("sqlite:///%s/ssemux.sqlite3" % app.instance_path) as publisher:
        publisher.publish("jobs", "x")
    before = list_files(app)
    assert "-wal" not in str(before)
    for command in (["status"], ["tail", "jobs", "--after", "0", "--no-follow"], ["doctor"]):
        printed(ssemux(*command))
        assert list_files(app) == before


def test_tail_sees_the_events_of_a_server_that_starts_later(app):
    url = "sqlite:///%s/ssemux.sqlite3" % app.instance_path
    with flask_ssemux.Publisher(url) as publisher:
        cursor = publisher.publish("jobs", "1")
    look = open_broker(url, is_look=True)
    assert str(look.history.get_newest_cursor()) == cursor
    for data in ("2", "3"):
        with flask_ssemux.Publisher(url) as publisher:
            for _ in range(2):
                cursor = publisher.publish("jobs", data)
                assert str(look.history.get_newest_cursor()) == cursor
        assert str(look.history.get_newest_cursor()) == cursor
    look.close()


# -- brokers that cannot be used here ----------------------------------------

COMMANDS = [["publish", "jobs", "x"], ["tail", "jobs", "--no-follow"], ["status"]]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_memory_broker_is_refused(make_app, command):
    runner = make_app(SSEMUX_BROKER="memory:").test_cli_runner()
    assert refused(runner.invoke(args=["ssemux"] + command)) == (
        "Error: SSEMUX_BROKER='memory:' works within one process only, and this is another process; use 'sqlite:'"
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unavailable_broker(make_app, tmp_path, command):
    (tmp_path / "file").write_text("x")
    runner = make_app(SSEMUX_BROKER="sqlite:///%s/file/x" % tmp_path).test_cli_runner()
    assert refused(runner.invoke(args=["ssemux"] + command)).startswith(
        "Error: the SQLite store %s/file/x: " % tmp_path
    )
