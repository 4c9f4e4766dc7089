"""Patterns, rules and the per-user limit: which user may read what. No HTTP beyond a request's context."""

from __future__ import annotations

import enum
import uuid

import flask
import flask_login
import pytest

import flask_ssemux
from flask_ssemux.access import rules as access
from flask_ssemux.access.patterns import Pattern
from flask_ssemux.access.rules import ANONYMOUS, Reader, Rules
from flask_ssemux.brokers import open_broker
from flask_ssemux.errors import (
    ApplicationError,
    BadRequest,
    Forbidden,
    InvalidAnswer,
    InvalidChannel,
    InvalidIdentity,
    Unauthorized,
)
from flask_ssemux.sse import encode
from flask_ssemux.worker.user_limit import UserLimit

ANN = Reader.of("ann")


def message_of(error, call, *args):
    with pytest.raises(error) as caught:
        call(*args)
    assert type(caught.value) is error
    return str(caught.value)


# -- patterns ----------------------------------------------------------------


@pytest.mark.parametrize(
    "pattern, channel, values",
    [
        ("jobs", "jobs", {}),
        ("jobs", "jobs2", None),
        ("jobs", "Jobs", None),
        ("jobs", "my jobs", None),
        ("jobs:<id>", "jobs:42", {"id": "42"}),
        ("jobs:<id>", "jobs:", None),
        ("jobs:<id>", "jobs", None),
        ("jobs:<id>", "jobs:4:2", None),
        ("jobs:<id>", "xjobs:42", None),
        ("jobs:<id>", "jobs:a/b <c>.d%", {"id": "a/b <c>.d%"}),
        ("<a>:<b>:log", "x:y:log", {"a": "x", "b": "y"}),
        ("<a>", "größe", {"a": "größe"}),
        ("a.c", "abc", None),
        ("a+(b)*", "a+(b)*", {}),
        ("a+(b)*", "aab", None),
    ],
)
def test_matching(pattern, channel, values):
    assert Pattern(pattern).match(channel) == values


@pytest.mark.parametrize("end", ["\n", "\r", "\0"])
def test_no_pattern_matches_an_invalid_channel(end):
    assert Pattern("jobs").match("jobs" + end) is None
    assert Pattern("jobs:<id>").match("jobs:1" + end) is None


@pytest.mark.parametrize("pattern, channel", [("<kind>:<id>", "user:42"), ("use<x>:<id>", "user:42"), ("<any>", "*")])
def test_no_pattern_matches_a_channel_that_clients_may_not_name(pattern, channel):
    assert Pattern(pattern).match(channel) is None


@pytest.mark.parametrize(
    "pattern, values, channel",
    [("jobs", {}, "jobs"), ("jobs:<id>", {"id": 42}, "jobs:42"), ("<a>:<b>", {"a": "x", "b": "y", "c": "z"}, "x:y")],
)
def test_filling(pattern, values, channel):
    assert Pattern(pattern).fill(values) == channel


@pytest.mark.parametrize("value, shown", [("1:2", "'jobs:1:2'"), ("", "'jobs:'"), ("1\n2", r"'jobs:1\n2'")])
def test_hostile_values_do_not_fill(value, shown):
    assert message_of(BadRequest, Pattern("jobs:<id>").fill, {"id": value}) == (
        "%s is not a channel of 'jobs:<id>'" % shown
    )


@pytest.mark.parametrize("value", ["1\r2", "1\x002", "x" * 300], ids=["cr", "nul", "long"])
def test_values_that_make_an_invalid_channel_do_not_fill(value):
    message_of(BadRequest, Pattern("jobs:<id>").fill, {"id": value})


@pytest.mark.parametrize("values", [{"kind": "user", "id": "42"}])
def test_a_url_cannot_fill_in_a_users_own_channel(values):
    message_of(BadRequest, Pattern("<kind>:<id>").fill, values)


@pytest.mark.parametrize("text", ["*", "user:7", "user:<id>"])
def test_reserved_channels_take_no_rule(text):
    assert message_of(InvalidChannel, Pattern, text) == (
        "%r: '*' is for everyone and 'user:...' for its user; no rule can be added for them" % text
    )


@pytest.mark.parametrize("text", ["<a>:<a>", "<path:a>:<a>", "jobs:<>", "jobs:<:id>", "jobs:<1>", "jobs:<id", "<a b>"])
def test_bad_variables(text):
    message = "%r: variables are written <name> or <path:name>, each once" % text
    assert message_of(InvalidChannel, Pattern, text) == message


@pytest.mark.parametrize("text", ["", None, 7, "a\nb", "x" * 256])
def test_a_pattern_is_a_channel(text):
    message_of(InvalidChannel, Pattern, text)


# -- rules -------------------------------------------------------------------


def rules(**authorize):
    """Rules of `pattern=answer`, in that order; __ is a colon and _x_ the variable <x>."""
    made = Rules()
    for pattern, answer in authorize.items():
        made.add_rule(made.authorize, pattern.replace("__", ":").replace("_x_", "<x>"))(answer)
    return made


def yes(user_id, **values):
    return True


def no(user_id, **values):
    return False


def test_without_a_rule_a_channel_is_denied():
    with pytest.raises(Forbidden) as caught:
        Rules().check_channels(ANN, ["jobs"])
    assert (str(caught.value), caught.value.channel) == ("no rule allows the channel 'jobs'", "jobs")
    assert (caught.value.status, caught.value.code) == (403, "forbidden")


def test_without_a_rule_logging_in_would_not_help():
    assert message_of(Forbidden, Rules().check_channels, ANONYMOUS, ["jobs"]) == "no rule allows the channel 'jobs'"


def test_a_rule_that_denies_a_user():
    assert message_of(Forbidden, rules(jobs=no).check_channels, ANN, ["jobs"]) == "you may not read the channel 'jobs'"


def test_a_rule_that_denies_an_anonymous_visitor():
    with pytest.raises(Unauthorized) as caught:
        rules(jobs=no).check_channels(ANONYMOUS, ["jobs"])
    assert str(caught.value) == "the channel 'jobs' needs a user; log in first"
    assert (caught.value.status, caught.value.code, caught.value.channel) == (401, "unauthorized", "jobs")


@pytest.mark.parametrize("reader", [ANN, ANONYMOUS])
def test_a_rule_that_allows(reader):
    assert rules(jobs=yes).check_channels(reader, ["jobs"]) is None


@pytest.mark.parametrize("answer, allowed", [(None, False), (0, False), (False, False), (1, True), (True, True)])
def test_which_results_allow(answer, allowed):
    check = rules(jobs=lambda user_id: answer).check_channels
    assert check(ANN, ["jobs"]) is None if allowed else message_of(Forbidden, check, ANN, ["jobs"])


async def later():
    return False


@pytest.mark.parametrize("answer", [later, (lambda: False), ("no", 403), "no", "", [], (x for x in ()), object(), 0.0])
def test_a_result_that_is_neither_true_nor_false_admits_nobody(answer):
    """A forgotten `await`, call or `.first()` is true in Python."""
    with pytest.raises(InvalidAnswer) as error:
        rules(jobs=lambda user_id: answer).check_channels(ANN, ["jobs"])
    assert str(error.value) == (
        "the rule for 'jobs' answered %r; it answers True or False, and is no async function" % (answer,)
    )
    with pytest.raises(InvalidAnswer, match="answered <coroutine"):
        rules(jobs=lambda user_id: later()).check_channels(ANN, ["jobs"])


def test_a_rule_gets_the_user_and_the_variables():
    asked = []
    rules(jobs___x_=lambda user_id, x: asked.append((user_id, x)) or True).check_channels(ANN, ["jobs:1", "jobs:2"])
    assert asked == [("ann", "1"), ("ann", "2")]


def test_the_rule_of_every_channel_is_asked():
    with pytest.raises(Forbidden) as caught:
        rules(a=yes, b=yes).check_channels(ANN, ["a", "b", "c", "d"])
    assert caught.value.channel == "c"


@pytest.mark.parametrize("first, second, allowed", [(yes, no, True), (no, yes, False)])
def test_where_rules_overlap_the_first_decides(first, second, allowed):
    check = rules(jobs__1=first, jobs___x_=second).check_channels
    assert check(ANN, ["jobs:1"]) is None if allowed else message_of(Forbidden, check, ANN, ["jobs:1"])


@pytest.mark.parametrize("first, second, allowed", [(yes, no, True), (no, yes, False)])
def test_the_first_decides_even_if_it_is_the_wider_one(first, second, allowed):
    check = rules(jobs___x_=first, jobs__1=second).check_channels
    assert check(ANN, ["jobs:1"]) is None if allowed else message_of(Forbidden, check, ANN, ["jobs:1"])


def test_a_second_rule_for_a_pattern_is_refused():
    made = rules(jobs=yes)
    assert message_of(ApplicationError, made.add_rule, made.authorize, "jobs") == (
        "'jobs' has a rule already; a channel's first rule decides"
    )


def test_a_variable_that_hides_the_user_is_refused():
    """The rule would be called with two arguments named ``user_id`` when the first client connects."""
    made = Rules()
    message_of(ApplicationError, lambda: made.add_rule(made.authorize, "notes:<user_id>")(yes))


def test_a_decorated_function_is_returned_unchanged():
    made = Rules()
    assert made.add_rule(made.authorize, "jobs")(yes) is yes


def test_a_rule_that_raises_admits_nobody():
    assert (
        message_of(ZeroDivisionError, rules(jobs=lambda user_id: 1 / 0).check_channels, ANN, ["jobs"])
        == "division by zero"
    )


# -- snapshots ---------------------------------------------------------------


def list_snapshots(rules, *channels):
    """The application writes their JSON, so it is asked in its context."""
    with flask.Flask("shop").app_context():
        return list(rules.make_snapshots(channels))


def test_snapshots_are_bodies_in_the_order_of_the_channels():
    made = Rules()
    made.add_rule(made.snapshot, "jobs:<id>")(lambda id: [("progress", id), (None, {"n": 1})])
    made.add_rule(made.snapshot, "chat")(lambda: iter([("said", "hi")]))
    assert list_snapshots(made, "chat", "other", "jobs:7") == [
        b"event: said\nchannel: chat\ndata: hi\n\n",
        b"event: progress\nchannel: jobs:7\ndata: 7\n\n",
        b'channel: jobs:7\ndata: {"n":1}\n\n',
    ]


@pytest.mark.parametrize("nothing", [None, [], ()])
def test_a_snapshot_may_be_empty(nothing):
    made = Rules()
    made.add_rule(made.snapshot, "jobs")(lambda: nothing)
    assert list_snapshots(made, "jobs") == []


# -- the user of a request ---------------------------------------------------


def identified(found):
    made = Rules()
    made.identify = lambda: found
    return made


class Name(str, enum.Enum):
    ANN = "ann"


class Number(enum.IntEnum):
    SEVEN = 7


class Shown(int):
    def __str__(self):
        return "seven"


@pytest.mark.parametrize(
    "found, user_id",
    [
        (None, None), ("ann", "ann"), (7, "7"), (0, "0"), (uuid.UUID(int=0), "00000000-0000-0000-0000-000000000000"),
        (Name.ANN, "ann"), (Number.SEVEN, "7"), (Shown(7), "7"),
    ],
)  # fmt: skip
def test_the_user_id_of_a_request(found, user_id):
    reader = identified(found).identify_reader(None)
    assert (reader.user, reader.user_id) == (found, user_id)
    assert user_id is None or reader.own_channels[0] == "user:" + user_id == encode.user_channel(found)


@pytest.mark.parametrize(
    "found, message",
    [
        (
            True,
            "identify returned True: a user's id is a text, an int or a UUID, not True of type bool",
        ),
        (
            ("ann", 7),
            "identify returned ('ann', 7): a user's id is a text, an int or a UUID, not ('ann', 7) of type tuple",
        ),
        ("", "identify returned '': a user's id may not be empty; use None for an anonymous visitor"),
        (
            "a\nb",
            r"identify returned 'a\nb': channel 'user:a\nb' has a line break or NUL in it, which would forge a field",
        ),
    ],
)
def test_invalid_user_ids(found, message):
    assert message_of(InvalidIdentity, identified(found).identify_reader, None) == message


@pytest.fixture
def bare():
    app = flask.Flask("bare")
    app.secret_key = "x"
    return app


def test_without_flask_login_everybody_is_anonymous(bare):
    with bare.test_request_context():
        assert Rules().identify_reader(None) == ANONYMOUS


@pytest.fixture
def with_login(bare):
    manager = flask_login.LoginManager(bare)
    manager.user_loader(lambda user_id: None)
    return bare


def test_a_visitor_who_is_not_logged_in_with_flask_login(with_login):
    with with_login.test_request_context():
        assert Rules().identify_reader(None) == ANONYMOUS


def test_a_user_who_is_logged_in_with_flask_login(with_login):
    user = flask_login.UserMixin()
    user.id = 7
    with with_login.test_request_context():
        flask_login.login_user(user)
        assert Rules().identify_reader(None).user == "7"


# -- what a client names -----------------------------------------------------


def test_named_channels_are_each_once_and_in_order():
    assert access.select_named(["b", "a", "b"], ANONYMOUS) == ["b", "a"]


@pytest.mark.parametrize("user_id, asked", [(None, ["*"]), ("7", ["*", "user:7"])])
def test_a_client_may_name_channels_that_it_has_anyway(user_id, asked):
    assert access.select_named(asked + ["jobs"], Reader.of(user_id)) == ["jobs"]


@pytest.mark.parametrize("user_id", [None, "7"])
@pytest.mark.parametrize("channel", ["user:8", "user:", "user:7:8", "user:07"])
def test_another_users_channel(user_id, channel):
    assert (
        message_of(Forbidden, access.select_named, [channel], Reader.of(user_id))
        == "the channel %r is for its user only" % channel
    )


@pytest.mark.parametrize(
    "channel, message",
    [
        ("", "a channel is a text of 1 to 255 characters, not ''"),
        ("a\nb", r"channel 'a\nb' has a line break or NUL in it, which would forge a field"),
    ],
)
def test_invalid_channels(channel, message):
    assert message_of(BadRequest, access.select_named, [channel], ANONYMOUS) == message


def test_too_many_channels():
    many = [str(number) for number in range(101)]
    assert access.select_named(many[:100], ANONYMOUS) == many[:100]
    assert (
        message_of(BadRequest, access.select_named, many, ANONYMOUS)
        == "a stream names at most 100 channels; this one names 101"
    )


def test_the_channels_that_a_user_reads_without_naming_them():
    assert (Reader.of(7).own_channels, ANONYMOUS.own_channels) == (("user:7", "*"), ("*",))


# -- the per-user limit -------------------------------------------------------


def test_slots_are_counted_for_each_user():
    user_limit = UserLimit(open_broker("memory:"), 2)
    assert [
        user_limit.take_user_slot("ann"),
        user_limit.take_user_slot("ann"),
        user_limit.take_user_slot("ann"),
        user_limit.take_user_slot("bob"),
    ] == [True, True, False, True]
    user_limit.release_user_slot("ann")
    assert [user_limit.take_user_slot("ann"), user_limit.take_user_slot("ann")] == [True, False]


def test_anonymous_visitors_are_not_counted():
    user_limit = UserLimit(open_broker("memory:"), 1)
    assert [user_limit.take_user_slot(None) for _ in range(3)] == [True] * 3
    user_limit.release_user_slot(None)


def test_the_rules_of_the_extension(make_app):
    mux = flask_ssemux.SSEMux()
    mux.authorize("jobs:<id>")(yes)
    mux.snapshot("jobs:<id>")(lambda id: ())
    rules = make_app(mux).extensions["ssemux"].rules
    assert [[rule.pattern.text for rule in kind] for kind in (rules.authorize, rules.snapshot)] == [["jobs:<id>"]] * 2


def test_a_rule_gets_the_id_as_identify_returned_it():
    rules = identified(7)
    asked = []
    rules.add_rule(rules.authorize, "jobs:<job_id>")(
        lambda user_id, job_id: asked.append((user_id, job_id)) or user_id == 7
    )
    rules.check_channels(rules.identify_reader(None), ["jobs:42"])
    assert asked == [(7, "42")]
