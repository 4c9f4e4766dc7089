"""The options: where a value comes from, how it is converted, and the text of every error."""

from __future__ import annotations

import dataclasses
import logging

import pytest

from flask_ssemux.errors import ConfigurationError
from flask_ssemux.options import Options, key_of, list_options

DEFAULTS = {
    "SSEMUX_URL": "/events",
    "SSEMUX_BROKER": "sqlite:",
    "SSEMUX_NAMESPACE": None,
    "SSEMUX_HEARTBEAT": 20.0,
    "SSEMUX_CLIENT_TIMEOUT": 120.0,
    "SSEMUX_RETRY": 3000,
    "SSEMUX_RETURN_WITHIN": 60.0,
    "SSEMUX_HISTORY_SECONDS": 3600.0,
    "SSEMUX_HISTORY_EVENTS": 10000,
    "SSEMUX_HISTORY_BYTES": 256 * 1024**2,
    "SSEMUX_QUEUE_EVENTS": 1000,
    "SSEMUX_QUEUE_BYTES": 1048576,
    "SSEMUX_REPLAY_BYTES": 64 * 1024**2,
    "SSEMUX_MAX_EVENT_BYTES": 262144,
    "SSEMUX_MAX_STREAMS": None,
    "SSEMUX_MAX_STREAMS_PER_USER": 32,
    "SSEMUX_OVER_USER_LIMIT": "refuse",
    "SSEMUX_MAX_RUNS": 200,
    "SSEMUX_MAX_RUNS_PER_OWNER": 32,
    "SSEMUX_MAX_FEEDS": 200,
    "SSEMUX_LIFETIME": None,
    "SSEMUX_RECHECK": None,
    "SSEMUX_HEARTBEAT_EVENT": None,
    "SSEMUX_HEARTBEAT_FORM": "frame",
    "SSEMUX_CHANNEL_FORM": "field",
    "SSEMUX_TRANSPORT": "auto",
    "SSEMUX_ON_ERROR": "raise",
    "SSEMUX_TRACING": "auto",
}

#: Other options that each option needs, so that its own limits are the ones that are tested.
BESIDE = {
    "SSEMUX_HEARTBEAT": {"SSEMUX_CLIENT_TIMEOUT": 86400},
    "SSEMUX_CLIENT_TIMEOUT": {"SSEMUX_HEARTBEAT": 0.05},
    "SSEMUX_QUEUE_BYTES": {"SSEMUX_MAX_EVENT_BYTES": 64},
    "SSEMUX_MAX_EVENT_BYTES": {"SSEMUX_QUEUE_BYTES": 1024**3},
}

#: Options that are numbers: the lowest and the highest value, and the text of the error.
BOUNDS = {
    "SSEMUX_HEARTBEAT": (0.05, 3600, "seconds from 0.05 to 3600"),
    "SSEMUX_CLIENT_TIMEOUT": (0.1, 86400, "seconds from 0.1 to 86400"),
    "SSEMUX_RETRY": (1, 3600000, "milliseconds from 1 to 3600000"),
    "SSEMUX_RETURN_WITHIN": (1, 3600, "seconds from 1 to 3600"),
    "SSEMUX_HISTORY_SECONDS": (0, 31536000, "seconds from 0 to 31536000"),
    "SSEMUX_HISTORY_EVENTS": (1, 10000000, "a number from 1 to 10000000"),
    "SSEMUX_HISTORY_BYTES": (65536, 512 * 1024**3, "bytes from 65536 to 549755813888"),
    "SSEMUX_QUEUE_EVENTS": (10, 1000000, "a number from 10 to 1000000"),
    "SSEMUX_QUEUE_BYTES": (1024, 1073741824, "bytes from 1024 to 1073741824"),
    "SSEMUX_REPLAY_BYTES": (1048576, 512 * 1024**3, "bytes from 1048576 to 549755813888"),
    "SSEMUX_MAX_EVENT_BYTES": (64, 536870912, "bytes from 64 to 536870912, and at most half of SSEMUX_QUEUE_BYTES"),
    "SSEMUX_MAX_STREAMS": (1, 10000000, "a number from 1 to 10000000"),
    "SSEMUX_MAX_STREAMS_PER_USER": (1, 1000000, "a number from 1 to 1000000"),
    "SSEMUX_MAX_RUNS": (1, 1000000, "a number from 1 to 1000000"),
    "SSEMUX_MAX_RUNS_PER_OWNER": (1, 1000000, "a number from 1 to 1000000"),
    "SSEMUX_MAX_FEEDS": (1, 1000000, "a number from 1 to 1000000"),
    "SSEMUX_LIFETIME": (1, 31536000, "seconds from 1 to 31536000, or off"),
    "SSEMUX_RECHECK": (1, 31536000, "seconds from 1 to 31536000, or off"),
}

NUMBERS = list(BOUNDS)
WHOLE = [key for key in BOUNDS if isinstance(DEFAULTS[key], int) or key == "SSEMUX_MAX_STREAMS"]
OPTIONAL = [key for key, default in DEFAULTS.items() if default is None]
OFF = ["", "off", "OFF", "none", "None", "false", "no", "0", " off "]


def resolve(config=None, **environ):
    return Options.resolve(config or {}, environ)


def value(key, options):
    return getattr(options, key[len("SSEMUX_") :].lower())


def one(key, given):
    return value(key, resolve({key: given, **BESIDE.get(key, {})}))


def refusal(config=None, **environ):
    with pytest.raises(ConfigurationError) as caught:
        resolve(config, **environ)
    return str(caught.value)


def refused(key, given):
    return refusal({key: given, **BESIDE.get(key, {})})


# -- where a value comes from ------------------------------------------------


def test_the_defaults():
    options = resolve()
    assert {key: value(key, options) for key in DEFAULTS} == DEFAULTS
    assert [key_of(field.name) for field in dataclasses.fields(Options)] == list(DEFAULTS)


def test_the_environment_comes_before_the_default():
    assert resolve(SSEMUX_RETRY="7").retry == 7


def test_the_configuration_comes_before_the_environment():
    assert resolve({"SSEMUX_RETRY": 5}, SSEMUX_RETRY="7").retry == 5


def test_the_configuration_can_switch_an_option_of_the_environment_off():
    assert resolve({"SSEMUX_LIFETIME": None}, SSEMUX_LIFETIME="60").lifetime is None


def test_an_invalid_value_that_the_configuration_overrides_is_ignored():
    assert resolve({"SSEMUX_RETRY": 5}, SSEMUX_RETRY="nonsense").retry == 5


def test_the_environment_of_the_process_is_the_default(monkeypatch):
    monkeypatch.setenv("SSEMUX_RETRY", "11")
    assert Options.resolve({}).retry == 11


def test_other_keys_are_ignored():
    assert resolve({"SECRET_KEY": "x", "SSE_RETRY": 1, "ssemux_retry": 1}, PATH="/bin") == resolve()


def test_options_are_immutable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        resolve().retry = 1


# -- conversion --------------------------------------------------------------


@pytest.mark.parametrize(
    "key, text, made",
    [
        ("SSEMUX_URL", "/api/v1/stream", "/api/v1/stream"),
        ("SSEMUX_BROKER", "sqlite:////srv/x.db", "sqlite:////srv/x.db"),
        ("SSEMUX_BROKER", "memory:", "memory:"),
        ("SSEMUX_BROKER", "redis://localhost/0", "redis://localhost/0"),
        ("SSEMUX_BROKER", "rediss://localhost/0", "rediss://localhost/0"),
        ("SSEMUX_BROKER", "unix:///run/redis.sock", "unix:///run/redis.sock"),
        ("SSEMUX_HEARTBEAT", "2.5", 2.5),
        ("SSEMUX_HEARTBEAT", " 15 ", 15.0),
        ("SSEMUX_CLIENT_TIMEOUT", "90", 90.0),
        ("SSEMUX_RETRY", "500", 500),
        ("SSEMUX_HISTORY_SECONDS", "0", 0.0),
        ("SSEMUX_HISTORY_EVENTS", "10", 10),
        ("SSEMUX_HISTORY_BYTES", "65536", 65536),
        ("SSEMUX_QUEUE_EVENTS", "10", 10),
        ("SSEMUX_QUEUE_BYTES", "2097152", 2097152),
        ("SSEMUX_REPLAY_BYTES", "2097152", 2097152),
        ("SSEMUX_MAX_EVENT_BYTES", "1024", 1024),
        ("SSEMUX_MAX_STREAMS", "5", 5),
        ("SSEMUX_MAX_STREAMS_PER_USER", "5", 5),
        ("SSEMUX_OVER_USER_LIMIT", "oldest", "oldest"),
        ("SSEMUX_LIFETIME", "60.5", 60.5),
        ("SSEMUX_RECHECK", "60", 60.0),
        ("SSEMUX_HEARTBEAT_EVENT", "beat", "beat"),
        ("SSEMUX_HEARTBEAT_FORM", "line", "line"),
        ("SSEMUX_CHANNEL_FORM", "comment", "comment"),
        ("SSEMUX_TRANSPORT", "generator", "generator"),
        ("SSEMUX_TRANSPORT", "handoff", "handoff"),
        ("SSEMUX_ON_ERROR", "log", "log"),
        ("SSEMUX_TRACING", "off", "off"),
        ("SSEMUX_NAMESPACE", "shop.v2_b-c", "shop.v2_b-c"),
    ],
)
def test_text_of_the_environment(key, text, made):
    found = value(key, resolve(**{key: text}))
    assert found == made and type(found) is type(made)


@pytest.mark.parametrize("key", WHOLE)
def test_a_float_that_is_whole_is_a_whole_number(key):
    found = one(key, float(BOUNDS[key][1]))
    assert found == BOUNDS[key][1] and type(found) is int


@pytest.mark.parametrize(
    "key, word",
    [
        (key, word)
        for key in OPTIONAL
        for word in OFF + [None, False, 0]
        if key != "SSEMUX_MAX_STREAMS" or repr(word) not in ("0", "'0'")
    ],
)
def test_words_that_mean_off(key, word):
    assert one(key, word) is None


@pytest.mark.parametrize("word", ["0", 0])
def test_zero_streams_is_refused(word):
    assert refusal({"SSEMUX_MAX_STREAMS": word}).startswith("SSEMUX_MAX_STREAMS=%r: must be a number from 1" % word)


@pytest.mark.parametrize("key", sorted(set(NUMBERS) - set(OPTIONAL)))
@pytest.mark.parametrize("word", ["", "off", None, False], ids=repr)
def test_a_required_option_cannot_be_off(key, word):
    assert refused(key, word) == "%s=%r: must be %s" % (key, word, BOUNDS[key][2])


# -- bounds ------------------------------------------------------------------


@pytest.mark.parametrize("key", NUMBERS)
def test_the_bounds_are_allowed(key):
    low, high, _ = BOUNDS[key]
    assert one(key, high) == high
    assert low == 0 or one(key, low) == low


@pytest.mark.parametrize("key", NUMBERS)
@pytest.mark.parametrize("bad", [-1, 10**12, "1,5", "ten", "nan", "inf", "-inf", "20s", True, [5]], ids=repr)
def test_refused_numbers(key, bad):
    assert refused(key, bad) == "%s=%r: must be %s" % (key, bad, BOUNDS[key][2])


@pytest.mark.parametrize("key", NUMBERS)
def test_just_outside_the_bounds(key):
    low, high, words = BOUNDS[key]
    step = 1 if key in WHOLE else 0.01
    for bad in (high + step, -step if key in OPTIONAL else low - step):  # 0 is off for those
        assert refused(key, bad) == "%s=%r: must be %s" % (key, bad, words)


@pytest.mark.parametrize("key", WHOLE)
@pytest.mark.parametrize("bad", [20.5, "20.5", "1e3", float("nan"), float("inf")], ids=repr)
def test_whole_numbers_only(key, bad):
    assert refused(key, bad) == "%s=%r: must be %s" % (key, bad, BOUNDS[key][2])


@pytest.mark.parametrize(
    "bad", ["/", "events", "/events/", "//events", "/a//b", "/<a>", "/a?b", "/a#b", "/a b", "/a\n", 7, 0, True]
)
def test_refused_urls(bad):
    assert refused("SSEMUX_URL", bad) == (
        "SSEMUX_URL=%r: must be a path such as '/events', without variables and without a slash at its end, or off"
        % (bad,)
    )


@pytest.mark.parametrize("word", [None, "", "off", "OFF", "none", "false", "no"])
def test_no_url(word):
    assert one("SSEMUX_URL", word) is None


def test_spaces_around_a_url_are_ignored():
    """As a secret that is a file ends with a line feed."""
    assert resolve(SSEMUX_BROKER=" redis://h/0\n").broker == "redis://h/0"


@pytest.mark.parametrize(
    "url, form",
    [
        ("valkeys://:pw@h", "rediss://"),
        ("redis+socket:///run/r", "unix:///run/redis.sock?db=0"),
        ("redis-cluster://:pw@h:1,h:2", "redis+cluster://host:6379,host:6379"),
        ("valkeys+cluster://:pw@h", "rediss+cluster://host:6379,host:6379"),
    ],
)
def test_a_url_as_other_packages_write_it(url, form):
    said = refused("SSEMUX_BROKER", url)
    assert said.endswith(": is written %s here" % form)
    assert "pw" not in said


def test_a_value_that_is_no_text_is_not_shown():
    assert "hunter2" not in refused("SSEMUX_BROKER", b"redis://:hunter2@h")


def test_the_password_is_not_in_the_options_repr():
    assert "hunter2" not in repr(resolve(SSEMUX_BROKER="redis://:hunter2@h"))


@pytest.mark.parametrize("bad", ["", "sqlite", "mysql://x", "redis:", "mysql:", "SQLITE:", None, 7])
def test_refused_brokers(bad):
    assert refused("SSEMUX_BROKER", bad) == (
        "SSEMUX_BROKER=%r: must be one of memory:, sqlite:, redis://, rediss://, unix://, "
        "redis+sentinel://, rediss+sentinel://, redis+cluster://, rediss+cluster://, postgresql://, postgres://"
        % (bad,)
    )


def test_a_password_in_a_refused_broker_is_not_shown():
    assert "s3cret" not in refused("SSEMUX_BROKER", "redi://me:s3cret@host/0?sentinel_password=s3cret")


@pytest.mark.parametrize("bad", ["", "Auto", "websocket", None, ["auto"]])
def test_refused_transports(bad):
    assert refused("SSEMUX_TRANSPORT", bad) == "SSEMUX_TRANSPORT=%r: must be one of auto, generator, handoff" % (bad,)


def test_refused_ways_to_handle_errors():
    assert refused("SSEMUX_ON_ERROR", "ignore") == "SSEMUX_ON_ERROR='ignore': must be one of raise, log"


@pytest.mark.parametrize("bad", ["", "Line", "lines", None, ["line"], True])
def test_refused_forms(bad):
    assert refused("SSEMUX_HEARTBEAT_FORM", bad) == "SSEMUX_HEARTBEAT_FORM=%r: must be one of frame, line" % (bad,)
    assert refused("SSEMUX_CHANNEL_FORM", bad) == "SSEMUX_CHANNEL_FORM=%r: must be one of field, comment" % (bad,)


@pytest.mark.parametrize("bad", ["ssemux.beat", "a\nb", "x" * 256, 7, b"beat"])
def test_refused_heartbeat_events(bad):
    assert refused("SSEMUX_HEARTBEAT_EVENT", bad) == "SSEMUX_HEARTBEAT_EVENT=%r: must be an event's name, or off" % (
        bad,
    )


def test_an_invalid_value_of_the_environment_is_named_too():
    assert refusal(SSEMUX_RETRY="soon") == "SSEMUX_RETRY='soon': must be milliseconds from 1 to 3600000"


# -- names -------------------------------------------------------------------


@pytest.mark.parametrize(
    "typo, meant",
    [("SSEMUX_HEARBEAT", "SSEMUX_HEARTBEAT"), ("SSEMUX_BROKER_URL", "SSEMUX_BROKER"), ("SSEMUX_Retry", "SSEMUX_RETRY")],
)
def test_a_typo_gets_a_suggestion(typo, meant):
    assert refusal({typo: 1}) == "there is no option %s; did you mean %s?" % (typo, meant)


@pytest.mark.parametrize("bad", ["a b", "a/b", "../x", "a:b", "-a", ".a", "x" * 65, "é", 1, b"a"], ids=repr)
def test_refused_namespaces(bad):
    assert refused("SSEMUX_NAMESPACE", bad) == (
        "SSEMUX_NAMESPACE=%r: must be 1 to 64 letters, digits, dots, hyphens and underscores, the first of them a "
        "letter or a digit" % (bad,)
    )


def test_an_unknown_option_gets_the_list():
    assert refusal({"SSEMUX_QQQQQQQQQQQQQQ": 1}) == "there is no option SSEMUX_QQQQQQQQQQQQQQ; known are " + ", ".join(
        DEFAULTS
    )


# -- options that must fit together ------------------------------------------


def warnings(caplog, heartbeat, timeout):
    with caplog.at_level(logging.WARNING, "flask_ssemux"):
        resolve({"SSEMUX_HEARTBEAT": heartbeat, "SSEMUX_CLIENT_TIMEOUT": timeout})
    return [record.getMessage() for record in caplog.records]


def test_a_margin_under_two_is_refused():
    assert refusal({"SSEMUX_HEARTBEAT": 80}) == (
        "SSEMUX_HEARTBEAT=80 with SSEMUX_CLIENT_TIMEOUT=120 leaves room for only 1.5 heartbeats in a client's "
        "time-out: at least 2 are needed, 6 are usual; set SSEMUX_HEARTBEAT to at most 60"
    )


def test_a_margin_just_under_two_is_not_rounded_to_two():
    assert "room for only 2.0 heartbeats" not in refusal({"SSEMUX_HEARTBEAT": 61})


def test_a_margin_under_two_by_the_environment_is_refused():
    assert refusal({"SSEMUX_HEARTBEAT": 30}, SSEMUX_CLIENT_TIMEOUT="45").startswith(
        "SSEMUX_HEARTBEAT=30 with SSEMUX_CLIENT_TIMEOUT=45 leaves room for only 1.5 heartbeats"
    )


@pytest.mark.parametrize("heartbeat, timeout", [(60, 120), (41, 120), (0.5, 1.2)])
def test_a_margin_under_three_causes_a_warning(caplog, heartbeat, timeout):
    assert warnings(caplog, heartbeat, timeout) == [
        "SSEMUX_HEARTBEAT=%g with SSEMUX_CLIENT_TIMEOUT=%g leaves room for only %.1f heartbeats in a client's "
        "time-out: a single late heartbeat cuts the stream; set SSEMUX_HEARTBEAT to at most %g"
        % (heartbeat, timeout, timeout / heartbeat, timeout / 3)
    ]


@pytest.mark.parametrize("heartbeat, timeout", [(40, 120), (20, 120), (1, 3)])
def test_a_margin_of_three_is_fine(caplog, heartbeat, timeout):
    assert warnings(caplog, heartbeat, timeout) == []


def test_two_events_must_fit_into_a_queue():
    assert refusal({"SSEMUX_QUEUE_BYTES": 2000, "SSEMUX_MAX_EVENT_BYTES": 1001}) == (
        "SSEMUX_MAX_EVENT_BYTES=1001 is over half of SSEMUX_QUEUE_BYTES=2000: two such events would close every stream "
        "that they reach; raise SSEMUX_QUEUE_BYTES"
    )
    assert resolve({"SSEMUX_QUEUE_BYTES": 2000, "SSEMUX_MAX_EVENT_BYTES": 1000}).queue_bytes == 2000


def test_a_queue_too_small_for_the_default_event_size_is_refused():
    assert refusal({"SSEMUX_QUEUE_BYTES": 1024}).startswith("SSEMUX_MAX_EVENT_BYTES=262144 is over half of")


# -- the table for the README ------------------------------------------------


def test_every_option_is_in_the_table():
    rows = list_options()
    assert [key for key, _, _ in rows] == list(DEFAULTS)
    assert all(about for _, _, about in rows)


def test_defaults_as_the_table_shows_them():
    shown = {key: default for key, default, _ in list_options()}
    assert shown == {
        "SSEMUX_URL": "/events",
        "SSEMUX_BROKER": "sqlite:",
        "SSEMUX_NAMESPACE": "off",
        "SSEMUX_HEARTBEAT": "20 s",
        "SSEMUX_CLIENT_TIMEOUT": "120 s",
        "SSEMUX_RETRY": "3000 ms",
        "SSEMUX_RETURN_WITHIN": "60 s",
        "SSEMUX_HISTORY_SECONDS": "3600 s",
        "SSEMUX_HISTORY_EVENTS": "10000",
        "SSEMUX_HISTORY_BYTES": "256 MiB",
        "SSEMUX_QUEUE_EVENTS": "1000",
        "SSEMUX_QUEUE_BYTES": "1 MiB",
        "SSEMUX_REPLAY_BYTES": "64 MiB",
        "SSEMUX_MAX_EVENT_BYTES": "256 KiB",
        "SSEMUX_MAX_STREAMS": "80 % of the file limit and of the server capacity (`worker_connections`, threads)",
        "SSEMUX_MAX_STREAMS_PER_USER": "32",
        "SSEMUX_OVER_USER_LIMIT": "refuse",
        "SSEMUX_MAX_RUNS": "200",
        "SSEMUX_MAX_RUNS_PER_OWNER": "32",
        "SSEMUX_MAX_FEEDS": "200",
        "SSEMUX_LIFETIME": "off",
        "SSEMUX_RECHECK": "off",
        "SSEMUX_HEARTBEAT_EVENT": "off",
        "SSEMUX_HEARTBEAT_FORM": "frame",
        "SSEMUX_CHANNEL_FORM": "field",
        "SSEMUX_TRANSPORT": "auto",
        "SSEMUX_ON_ERROR": "raise",
        "SSEMUX_TRACING": "auto",
    }
