"""The doctor's parts that need no server: frames, the report, the table of advice, the checks of the server side."""

from __future__ import annotations

import json
import os
import sys

import pytest

from flask_ssemux.doctor import advice, drivers
from flask_ssemux.doctor.frames import MOST, Frames
from flask_ssemux.doctor.report import FAIL, OK, SKIPPED, WARN, Advice, Check, DoctorReport
from tests.harness.doctor import Diagnosis
from tests.unit.cases import CASES

# -- frames --------------------------------------------------------------------


def frames_of(*pieces):
    made = Frames()
    for number, piece in enumerate(pieces):
        made.feed(piece, number)
    return made.all


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_frames(case, end):
    (frame,) = frames_of(case.frame.replace(b"\n", end) + (b"" if end == b"\n" else b":"))
    assert (frame.event, frame.data) == (case.name, case.text)


def test_frames_in_pieces_of_one_byte():
    text = b": hi\r\n\r\nid: 7\r\nevent: p\r\ndata: 1\r\n\r\n: x"
    found = frames_of(*[text[at : at + 1] for at in range(len(text))])
    assert [(frame.event, frame.data, frame.id, frame.comment) for frame in found] == [
        ("", "", "", "hi"),
        ("p", "1", "7", ""),
    ]
    assert [frame.at for frame in found] == [5, 35]  # a comment needs no empty line


@pytest.mark.parametrize("data, found", [(b'{"a": 1}', {"a": 1}), (b"[1]", {}), (b"{", {}), (b"", {})])
def test_a_frames_json(data, found):
    assert frames_of(b"data: %s\n\n" % data)[0].json() == found


def test_frames_of_a_fast_stream_are_bounded():
    found = frames_of(*[b"data: %s\n\n" % (b"x" * 3000)] * (MOST + 1))
    assert (len(found), len(found[0].data)) == (MOST, 2000)


# -- the report ----------------------------------------------------------------

REPORT = DoctorReport(
    "https://shop.example/events",
    "nginx",
    "nginx",
    1.234567,
    [
        Check("flow", FAIL, "in lumps", (Advice("In nginx:", ("proxy_buffering off;",)),), {"lumps": 2}),
        Check("cache", OK, "none"),
        Check("silence", WARN, "long"),
        Check("resume", SKIPPED, "no cursor"),
    ],
)


def test_a_report_for_people():
    assert "\n".join(REPORT.format_lines()) == (
        "https://shop.example/events (nginx)\n"
        "  \x1b[31mfail   \x1b[0m  flow          in lumps\n"
        "                         In nginx:\n"
        "                             proxy_buffering off;\n"
        "  \x1b[32mok     \x1b[0m  cache         none\n"
        "  \x1b[33mwarn   \x1b[0m  silence       long\n"
        "  \x1b[90mskipped\x1b[0m  resume        no cursor\n"
        "1 ok, 1 warn, 1 fail, 1 skipped, in 1.2 s"
    )


def test_a_report_for_programs():
    assert json.loads(json.dumps(REPORT.as_dict())) == {
        "subject": "https://shop.example/events",
        "hop": "nginx",
        "hops": "nginx",
        "ok": False,
        "seconds": 1.235,
        "checks": [
            {
                "name": "flow",
                "status": "fail",
                "said": "in lumps",
                "measured": {"lumps": 2},
                "advice": [{"text": "In nginx:", "lines": ["proxy_buffering off;"]}],
            },
            {"name": "cache", "status": "ok", "said": "none", "measured": {}, "advice": []},
            {"name": "silence", "status": "warn", "said": "long", "measured": {}, "advice": []},
            {"name": "resume", "status": "skipped", "said": "no cursor", "measured": {}, "advice": []},
        ],
    }


def test_only_what_failed_is_not_ok():
    assert not REPORT.is_ok
    assert REPORT._replace(checks=REPORT.checks[1:]).is_ok


# -- advice --------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers, hop",
    [
        ({}, advice.UNKNOWN),
        ({"server": "nginx/1.22.1"}, advice.NGINX),
        ({"server": "openresty"}, advice.NGINX),
        ({"server": "Apache/2.4"}, advice.APACHE),
        ({"server": "gunicorn", "via": "1.1 Caddy"}, advice.CADDY),
        ({"server": "gunicorn", "via": "1.1 varnish (Varnish/7.1)"}, advice.VARNISH),
        ({"server": "nginx", "via": "1.1 x.cloudfront.net (CloudFront)"}, advice.CLOUDFRONT),
        ({"server": "cloudflare"}, advice.CLOUDFLARE),
        ({"server": "gunicorn"}, advice.GUNICORN),
        ({"server": "Werkzeug/3.1"}, advice.WERKZEUG),
    ],
)
def test_the_hop_nearest_to_the_client(headers, hop):
    assert advice.find_hop(headers) == hop


HOPS = sorted({hop for _, _, hop in advice.SIGNS} | {advice.UNKNOWN})


@pytest.mark.parametrize("hop", HOPS)
@pytest.mark.parametrize("trouble", [advice.BUFFERED, advice.COMPRESSED, advice.CACHED, advice.IDLE, advice.LIMITED])
def test_there_is_advice_for_every_trouble_everywhere(trouble, hop):
    for one in advice.find_advice(trouble, hop, "/shop/stream", 60):
        text = " ".join((one.text, *one.lines))
        assert "SECONDS" not in text
        assert "/events" not in text


def test_advice_names_the_stream():
    (one,) = advice.find_advice(advice.CACHED, advice.APACHE, "/shop/stream")
    assert one.lines == ('CacheDisable "/shop/stream"',)
    (one,) = advice.find_advice(advice.IDLE, advice.NGINX, "/", 60)
    assert one.lines == ("proxy_read_timeout 60s;",)


def test_headers_that_identify_hops():
    headers = {"server": "nginx", "x-cache-status": "MISS", "date": "today", "via": "1.1 varnish"}
    assert advice.describe_hops(headers) == "nginx, Via: 1.1 varnish, X-Cache-Status: MISS"


# -- the server side -------------------------------------------------------------

OURS = "from flask_ssemux.gunicorn_conf import *\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder, in which the doctor runs. No driver of a database is installed, though the tests need one."""
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GUNICORN_CMD_ARGS", raising=False)
    return tmp_path


@pytest.fixture
def examined(make_app, here):
    """examined(settings, SSEMUX_…=…): the doctor's results with a gunicorn.conf.py of these lines."""

    def run(settings=OURS, *args, **config):
        if settings is not None:
            (here / "gunicorn.conf.py").write_text(settings)
        app = make_app(**{"SECRET_KEY": "key", "SSEMUX_BROKER": "sqlite:", **config})
        result = app.test_cli_runner().invoke(args=["ssemux", "doctor", "--json", *args])
        return Diagnosis(result.exit_code, result.output)

    return run


def test_everything_is_well(examined):
    found = examined()
    assert (found.code, found.troubles()) == (0, {}), found
    assert list(found.statuses) == [
        "broker", "heartbeat", "worker class", "patching", "workers", "connections", "time-outs", "database",
    ]  # fmt: skip
    assert found.check("patching")["measured"] == {"early": True, "preload_app": False}
    assert found.report["subject"] == "the server side of 'shop'"


def test_without_a_configuration_of_gunicorn(examined):
    found = examined(None)
    assert (found.code, found.statuses["gunicorn"]) == (0, "skipped")
    assert found.check("gunicorn")["said"] == "no gunicorn.conf.py in this folder"


def test_gunicorns_environment_and_arguments_are_read(examined, monkeypatch):
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "-k gevent -w 7")
    assert examined(None).check("workers")["measured"] == {"workers": 7}


def test_a_configuration_of_another_name(examined, here):
    (here / "other.py").write_text("worker_class = 'gevent'\nprint('hello')\n")
    found = examined(None, "--config", "other.py")
    assert (found.code, found.statuses["worker class"]) == (0, "ok")
    assert found.check("patching")["measured"] == {"early": False, "preload_app": False}


@pytest.mark.parametrize(
    "settings, name, status, said",
    [
        ("", "worker class", "fail", "sync: gunicorn's sync worker serves one request at a time, so the first stream"),
        ("threads = 8", "worker class", "warn", "gthread: each stream needs a thread, and a worker has 8"),
        ("worker_class = 'my.Worker'", "worker class", "warn", "my.Worker: not tested with flask_ssemux"),
        (
            "worker_class = 'gevent'\npreload_app = True",
            "patching",
            "warn",
            "preload_app is set, and the configuration does not patch: gevent patches after the application is loaded",
        ),
        (OURS + "preload_app = True", "patching", "ok", "by the configuration, before all other imports"),
        (OURS + "worker_connections = 10**8", "connections", "warn", "100000000 requests at a time for each worker, "),
        (
            OURS + "workers = 2\nmax_requests = 500",
            "max_requests",
            "warn",
            "a worker stops after 500 requests: its streams end cleanly, and their clients come back and miss nothing",
        ),
        (OURS + "max_requests = 500\nmax_requests_jitter = 50", "max_requests", "ok", "a worker stops after 500 "),
        (OURS + "keepalive = 0", "time-outs", "warn", "timeout 60 s, graceful_timeout 20 s, keepalive 0 s"),
        (OURS + "graceful_timeout = 2", "time-outs", "warn", "timeout 60 s, graceful_timeout 2 s, keepalive 5 s"),
        (OURS + "timeout = 0", "time-outs", "warn", "timeout 0 s, "),
        (OURS + "raise SystemExit('no')", "gunicorn", "fail", "gunicorn.conf.py: no"),
        (OURS + "workers = 'many'", "gunicorn", "fail", "gunicorn.conf.py: "),
    ],
)
def test_settings_of_gunicorn(examined, settings, name, status, said):
    found = examined(settings)
    assert (found.statuses[name], found.code) == (status, int(status == "fail"))
    assert found.check(name)["said"].startswith(said)


def test_several_workers_on_a_broker_in_memory(examined):
    found = examined(OURS + "workers = 2", SSEMUX_BROKER="memory:")
    assert (found.code, found.statuses["broker"], found.statuses["workers"]) == (1, "warn", "fail")
    assert found.advice("workers") == ["SSEMUX_BROKER = 'sqlite:'", "workers = 1"]


def test_more_streams_than_the_server_has_room_for(examined):
    found = examined(OURS + "worker_connections = 100", SSEMUX_MAX_STREAMS=200)
    assert found.statuses["connections"] == "warn"


def test_a_store_that_does_not_exist_is_not_created(examined, make_app, here):
    found = examined(None)
    assert found.check("broker")["said"].endswith("ssemux.sqlite3 is created by the first stream or event")
    assert not any("sqlite3" in name for _, _, names in os.walk(here) for name in names)


def test_an_existing_store_is_asked(examined, here):
    path = here / "events.sqlite3"
    import flask_ssemux

    with flask_ssemux.Publisher("sqlite:///%s" % path) as publisher:
        publisher.publish("jobs", "x")
    found = examined(None, SSEMUX_BROKER="sqlite:///%s" % path)
    assert found.check("broker")["said"].startswith("sqlite:///%s answered in " % path)


def test_a_store_that_cannot_be_read(examined, here):
    (here / "events.sqlite3").write_text("no database at all, but a text of some length" * 100)
    found = examined(None, SSEMUX_BROKER="sqlite:///%s/events.sqlite3" % here)
    assert (found.code, found.statuses["broker"]) == (1, "fail")
    assert "cannot be reached: the SQLite store %s" % here in found.check("broker")["said"]


@pytest.mark.parametrize(
    "heartbeat, status, hops",
    [(20, "ok", []), (25, "warn", ["HAProxy's samples"]), (50, "warn", ["Heroku", "nginx", "AWS ALB"])],
)
def test_the_heartbeat_against_what_hops_allow(examined, heartbeat, status, hops):
    found = examined(None, SSEMUX_HEARTBEAT=heartbeat, SSEMUX_CLIENT_TIMEOUT=300)
    assert found.statuses["heartbeat"] == status
    for hop in hops:
        assert hop in found.check("heartbeat")["said"]


def test_a_compressor_that_is_configured_to_compress_streams(examined):
    found = examined(None, COMPRESS_MIMETYPES=["text/html", "text/event-stream"])
    assert (found.code, found.statuses["compression"]) == (1, "fail")
    assert examined(None, COMPRESS_MIMETYPES=["text/html"]).statuses["compression"] == "ok"


def test_no_secret_key(examined):
    assert examined(None, SECRET_KEY=None).statuses["secret key"] == "warn"


# -- drivers -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "url, module",
    [
        ("postgresql://h/d", "psycopg2"),
        ("postgresql+psycopg2://h/d", "psycopg2"),
        ("postgresql+psycopg://h/d", None),
        ("postgresql+pg8000://h/d", None),
        ("mysql://h/d", "MySQLdb"),
        ("mysql+pymysql://h/d", None),
        ("oracle://h/d", "cx_Oracle"),
        ("oracle+oracledb://h/d", None),
        ("mssql+pyodbc://h/d", "pyodbc"),
        ("sqlite:///file", None),
    ],
)
def test_drivers_that_block(url, module):
    found = drivers.find_blocking_driver(url)
    assert (found and found.module) == module


def test_a_driver_that_blocks_is_named(examined):
    found = examined(None, SQLALCHEMY_DATABASE_URI="mysql://h/d", SQLALCHEMY_BINDS={"a": {"url": "oracle://h/d"}})
    assert found.check("database")["measured"] == {"drivers": ["MySQLdb", "cx_Oracle"]}
    assert (found.code, found.statuses["database"]) == (0, "warn")
    assert found.advice("database") == ["mysql+pymysql://…", "oracle+oracledb://…"]


def test_without_gevent_no_driver_blocks(examined):
    assert "database" not in examined("threads = 8", SQLALCHEMY_DATABASE_URI="mysql://h/d").statuses


def test_a_driver_that_is_only_installed(examined, here, monkeypatch):
    (here / "pyodbc.py").write_text("")
    monkeypatch.syspath_prepend(str(here))
    found = examined(None)
    assert found.check("database")["measured"] == {"drivers": ["pyodbc"]}
    assert "is it used?" in found.check("database")["said"]
    assert examined(None, SQLALCHEMY_DATABASE_URI="sqlite:///x").statuses["database"] == "ok"


def test_psycogreen_makes_psycopg2_cooperative(examined, here, monkeypatch):
    uri = "postgresql://h/d"
    assert examined(None, SQLALCHEMY_DATABASE_URI=uri).statuses["database"] == "warn"
    (here / "psycogreen.py").write_text("")
    monkeypatch.syspath_prepend(str(here))
    assert examined(None, SQLALCHEMY_DATABASE_URI=uri).statuses["database"] == "ok"
