"""``flask ssemux doctor URL`` against real servers and proxies: what works passes, and what is wrong is named."""

from __future__ import annotations

import json
import socket
import subprocess

import flask
import pytest

import flask_ssemux
from tests.harness.doctor import Diagnosis, diagnose
from tests.harness.packages import need
from tests.harness.ports import free_port
from tests.harness.servers import Gunicorn
from tests.server.conftest import LAB, QUICK, Site

BEFORE = "tests.apps.before:create_app()"

CHECKS = [
    "answer", "first byte", "headers", "flow", "compression", "cache", "protocol", "resume", "second stream", "silence",
]  # fmt: skip

TLS = """
    server {
        listen 127.0.0.1:LISTEN_PORT ssl http2;
        ssl_certificate CERTIFICATE;
        ssl_certificate_key KEY;
        location / {
            proxy_pass http://127.0.0.1:UPSTREAM_PORT;
        }
    }
"""

CACHE = """
    proxy_cache_path FOLDER/cache keys_zone=pages:1m;
    server {
        listen 127.0.0.1:LISTEN_PORT;
        location / {
            proxy_pass http://127.0.0.1:UPSTREAM_PORT;
            proxy_ignore_headers Cache-Control X-Accel-Buffering;
            proxy_cache pages;
            proxy_cache_valid 200 1m;
            add_header X-Cache-Status $upstream_cache_status;
        }
    }
"""

LIMIT = """
    limit_conn_zone $binary_remote_addr zone=one:1m;
    server {
        listen 127.0.0.1:LISTEN_PORT;
        location / {
            proxy_pass http://127.0.0.1:UPSTREAM_PORT;
            limit_conn one 2;
        }
    }
"""


@pytest.fixture
def doctor(tmp_path):
    """doctor(url, …): run the command in this process, with the lab's SECRET_KEY; return its result."""

    def run(url, *args, secret="for tests"):
        app = flask.Flask("doctor", instance_path=str(tmp_path / "doctor"))
        app.config.update(SECRET_KEY=secret, SSEMUX_BROKER="memory:")
        flask_ssemux.init_app(app)
        result = app.test_cli_runner().invoke(args=["ssemux", "doctor", url, "--json", "--timeout", "3", *args])
        return Diagnosis(result.exit_code, result.output)

    return run


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """One server for all tests that do not need their own."""
    env = {**QUICK, "INSTANCE_PATH": str(tmp_path_factory.mktemp("instance"))}
    with Gunicorn(LAB, env=env) as server:
        yield Site(server)


@pytest.fixture(scope="module")
def old():
    """The old stream, which sends a heartbeat every second."""
    with Gunicorn(BEFORE, env={"FIRST_EVENT_AFTER": "0"}) as server:
        yield server


@pytest.fixture
def certificate(tmp_path):
    """A self-signed certificate for 127.0.0.1 and its key, as files."""
    files = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = [need("openssl", "openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-out", files[0], "-keyout", files[1]], check=True, capture_output=True)
    return files


def is_well(found):
    assert (found.code, found.troubles()) == (0, {}), found
    assert list(found.statuses) == CHECKS
    assert set(found.statuses.values()) == {"ok"}, found


# -- what works --------------------------------------------------------------------


def test_our_stream_directly(lab):
    found = diagnose(lab.server.url + "/events?channel=room:1")
    is_well(found)
    assert set(found.report) == {"subject", "hop", "hops", "ok", "seconds", "checks"}
    assert (found.report["ok"], found.report["hop"], found.report["hops"]) == (True, "gunicorn", "gunicorn")
    for check in found.report["checks"]:
        assert set(check) == {"name", "status", "said", "measured", "advice"}
    assert found.check("flow")["measured"]["frames"] == 7
    assert found.check("silence")["measured"]["survived"] > 0.8
    assert found.check("protocol")["measured"] == {"version": "HTTP/1.1", "alpn": None}


def test_our_stream_behind_a_default_nginx(lab, nginx):
    proxy = nginx(lab.port)
    found = diagnose(proxy.url, as_json=False)
    lines = found.text.splitlines()
    assert (found.code, found.errors) == (0, "")
    assert lines[0].startswith(proxy.url + "/events (nginx/")
    assert [line[:25].split(None, 1)[1].strip() for line in lines[1:-1]] == CHECKS
    assert lines[-1].startswith("10 ok, in ")
    assert "\x1b" not in found.text


def test_our_stream_behind_nginx_with_tls(lab, nginx, certificate, doctor):
    server = TLS.replace("CERTIFICATE", str(certificate[0])).replace("KEY", str(certificate[1]))
    url = nginx(lab.port, server=server).url.replace("http:", "https:")
    found = doctor(url, "--ca", str(certificate[0]))
    is_well(found)
    assert found.check("protocol")["measured"]["alpn"] == "h2"
    assert doctor(url + "/nowhere", "--insecure").check("answer")["said"] == "404"
    refused = doctor(url)
    assert (refused.code, list(refused.statuses.values())) == (1, ["fail"])
    assert "is not trusted: self" in refused.check("answer")["said"]
    assert "--insecure" in refused.check("answer")["advice"][0]["text"]


def test_our_stream_in_threads(serve_threads, doctor):
    found = doctor(serve_threads().server.url)
    if found.report["checks"] and found.statuses["protocol"] == "warn":  # Werkzeug's server before 2.1
        assert found.troubles() == {"protocol": "HTTP/1.0"} and found.code == 0, found
    else:
        is_well(found)


def test_an_old_stream_directly(old, doctor):
    found = doctor(old.url + "/events", "--timeout", "2")
    assert (found.code, list(found.troubles())) == (0, ["headers"]), found
    assert "X-Accel-Buffering: no" in found.advice("headers")
    assert found.check("answer")["measured"]["flask_ssemux"] is False
    assert found.statuses["resume"] == "skipped"


# -- what is wrong in between ----------------------------------------------------


def test_an_old_stream_that_nginx_buffers(old, nginx):
    proxy = nginx(old.port)
    found = diagnose(proxy.url + "/events", "--timeout", "3")
    assert (found.code, found.statuses) == (1, {"answer": "fail"})
    said = "no headers in 3 s, although other requests are answered: nginx buffers the stream"
    assert found.check("answer")["said"] == said
    assert found.advice("answer") == ["X-Accel-Buffering: no", "proxy_buffering off;"]


def test_our_stream_behind_nginx_that_ignores_its_header(lab, nginx, doctor):
    found = doctor(nginx(lab.port, "proxy_ignore_headers X-Accel-Buffering;").url)
    assert (found.code, found.statuses) == (1, {"answer": "fail", "cache": "ok"})
    assert found.check("answer")["said"].startswith(
        "nginx buffers the stream: no headers, and 7 of 7 timed frames arrived together, the first one "
    )
    assert "proxy_ignore_headers" in found.check("answer")["advice"][0]["text"]


def test_an_old_stream_that_arrives_in_bursts(gunicorn, nginx, doctor):
    """A stream that fills nginx's buffers from time to time."""
    buffers = "proxy_buffer_size 512; proxy_buffers 16 512; proxy_busy_buffers_size 1k; postpone_output 0;"
    site = gunicorn("tests.apps.good:create_app()", env={"BEAT": "0.03"})
    found = doctor(nginx(site.port, buffers + "proxy_ignore_headers X-Accel-Buffering;").url)
    assert (found.code, found.statuses["flow"]) == (1, "fail"), found
    assert " frames arrived together after " in found.check("flow")["said"]
    assert "proxy_buffering off;" in found.advice("flow")


def test_a_hop_that_compresses_changes_headers_and_drops_the_cursor(lab, nginx, doctor):
    conf = """
        gzip on; gzip_types text/event-stream;
        proxy_hide_header Content-Encoding;  # which keeps it from compressing
        proxy_hide_header Cache-Control;
        proxy_set_header Last-Event-ID "";
    """
    found = doctor(nginx(lab.port, conf).url)
    assert (found.code, list(found.troubles())) == (1, ["headers", "compression", "resume"]), found
    assert found.check("compression")["measured"] == {"with_accept_encoding": "gzip", "without": None}
    assert found.statuses["compression"] == "warn"
    assert found.advice("compression") == ["gzip off;"]
    assert found.advice("headers") == ["Cache-Control: no-cache, no-transform"]
    assert found.check("resume")["said"].endswith("the header does not arrive")
    assert found.advice("resume") == ["proxy_set_header Last-Event-ID $http_last_event_id;"]


def test_a_hop_that_caches(lab, nginx, doctor):
    found = doctor(nginx(lab.port, server=CACHE).url)
    assert (found.code, found.statuses["cache"]) == (1, "fail"), found
    said = "two requests got the same response; X-Cache-Status: HIT"
    assert found.check("cache")["said"] == said
    assert found.advice("cache") == ["proxy_cache off;"]


def test_a_hop_that_closes_idle_streams(serve, nginx, doctor):
    site = serve(env={"SSEMUX_HEARTBEAT": "4", "SSEMUX_CLIENT_TIMEOUT": "20"})
    found = doctor(nginx(site.port, "proxy_read_timeout 1s;").url)
    assert (found.code, list(found.troubles())) == (1, ["silence"]), found
    assert 0.5 < found.check("silence")["measured"]["cut_after"] < 3
    assert found.advice("silence")[0] == "proxy_read_timeout 12s;"
    assert found.advice("silence")[1].startswith("SSEMUX_HEARTBEAT = 0.")


def test_a_hop_that_limits_connections(lab, nginx, doctor):
    found = doctor(nginx(lab.port, server=LIMIT).url)
    assert (found.code, found.statuses["second stream"]) == (1, "fail"), found
    assert found.check("second stream")["said"].endswith("answered with 503")
    assert found.advice("second stream") == ["limit_conn per_ip 32;"]


# -- no stream at all --------------------------------------------------------------


@pytest.mark.parametrize(
    "path, said, advice",
    [
        ("/nowhere", "404", "SSEMUX_URL"),
        ("/?a=page", "200, but text/html; charset=utf-8, not text/event-stream", "--cookie"),
        ("/ping", "200, but application/json, not text/event-stream", "must be text/event-stream"),
        (
            "/typed?type=text/event-stream-x",
            "200, but text/event-stream-x, not text/event-stream",
            "must be text/event-",
        ),
        ("/events?channel=secret:1", "401: the channel 'secret:1' needs a user; log in first", "--cookie"),
        ("/events?channel=other", "403: no rule allows the channel 'other'", "@mux.authorize"),
        ("/old/not_a_stream", "403", "--cookie"),
        ("/old/elsewhere", "200 after a redirect to URL/ping, but application/json, not text/event-stream", ""),
        ("/publish", "405", "GET"),
    ],
)
def test_an_answer_that_is_not_a_stream(lab, doctor, path, said, advice):
    found = doctor(lab.server.url + path)
    assert (found.code, found.statuses) == (1, {"answer": "fail"})
    assert found.check("answer")["said"] == said.replace("URL", lab.server.url)
    assert advice in found.check("answer")["advice"][0]["text"]


def test_a_type_is_read_as_browsers_read_it(lab, doctor):
    found = doctor(lab.server.url + "/typed?type=Text/Event-Stream%20;charset=utf-8")
    assert "not text/event-stream" not in str(found)


def test_the_user_can_be_given(lab, doctor):
    found = doctor(lab.server.url + "/events?channel=secret:1", "--header", "X-User: root")
    assert found.statuses["answer"] == "ok"


def test_no_server_at_the_port(doctor):
    port = free_port()
    found = doctor("http://127.0.0.1:%d/events" % port)
    assert (found.code, found.statuses) == (1, {"answer": "fail"})
    assert found.check("answer")["said"] == "nothing listens on 127.0.0.1:%d" % port


def test_a_silent_server_and_a_terminal_that_shows_what_is_waited_for():
    """In colour, and on a line that is overwritten and empty at the end."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = "http://127.0.0.1:%d/events" % mute.getsockname()[1]
        found = diagnose(url, "--timeout", "1", as_json=False, terminal=True)
    assert found.code == 1
    assert "waiting for the headers: 0 of 1 s" in found.text
    assert "\x1b[31mfail   \x1b[0m  answer        no response to any request in 1 s" in found.text
    last = found.text[: found.text.index(url)].rsplit("\r", 2)
    assert (last[1].strip(), last[2]) == ("", "")


def test_an_unknown_host_name(doctor):
    found = doctor("http://nobody.invalid/events")
    assert found.check("answer")["said"].startswith("the name of nobody.invalid:80 is not known: ")


def test_https_to_a_server_of_http(lab, doctor):
    found = doctor(lab.server.url.replace("http:", "https:"))
    assert found.check("answer")["said"].startswith("no TLS with 127.0.0.1:%d: " % lab.port)
    assert found.check("answer")["advice"][0]["text"] == "If the server uses plain HTTP there, write http://."


def test_https_to_a_silent_server(doctor):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = doctor("https://127.0.0.1:%d/events" % silent.getsockname()[1], "--timeout", "1")
    assert found.check("answer")["said"].endswith(": the handshake did not end in time"), found
    assert found.check("answer")["advice"][0]["text"] == "If the server uses plain HTTP there, write http://."


def test_a_worker_that_cannot_stream(serve, doctor):
    found = doctor(serve(args=("-k", "sync")).server.url)
    assert (found.code, found.statuses) == (1, {"answer": "fail"})
    assert "gunicorn's sync worker serves one request at a time" in found.check("answer")["said"]


def test_a_worker_that_an_old_stream_occupies(gunicorn, doctor):
    site = gunicorn(BEFORE, args=("-k", "sync"), env={"FIRST_EVENT_AFTER": "0"})
    found = doctor(site.url + "/events", "--timeout", "2")
    assert (found.code, found.statuses["second stream"]) == (1, "fail"), found
    assert 'worker_class = "gevent"' in found.advice("second stream")


# -- with less information -----------------------------------------------------------


@pytest.mark.parametrize(
    "secret, said",
    [
        (None, "no timed frames: this application has no SECRET_KEY, which a probe needs"),
        (
            "another",
            "no timed frames: 403: the probe's token was not made with this application's SECRET_KEY: "
            "run `flask ssemux doctor` with it",
        ),
    ],
)
def test_without_probes(lab, doctor, secret, said):
    found = doctor(lab.server.url, secret=secret)
    assert (found.code, found.troubles()) == (0, {}), found
    assert (found.statuses["flow"], found.check("flow")["said"]) == ("skipped", said)
    assert found.statuses["silence"] == "ok"


def test_a_redirect_is_followed_and_reported(lab, nginx, doctor):
    conf = "} location = /old-events { return 302 /events;"
    found = doctor(nginx(lab.port, conf).url + "/old-events")
    is_well(found)
    assert found.check("answer")["said"].endswith("/events")
    assert found.check("answer")["measured"]["redirects"] == 1


def test_cookies_do_not_follow_to_another_host(lab, nginx, doctor):
    conf = "} location = /away { return 302 http://localhost:%d/events?channel=secret:1;" % lab.port
    found = doctor(nginx(lab.port, conf).url + "/away", "--header", "X-User: root")
    assert found.check("answer")["said"].startswith("401 after a redirect to http://localhost:")


@pytest.mark.parametrize(
    "args, said",
    [
        (["shop.example"], "'shop.example' is not a URL; write it as in a browser: https://shop.example/events"),
        (["http://x:1x/"], "'http://x:1x/': Port could not be cast to integer value as '1x'"),
        (["http://x/", "--header", "no colon"], "--header 'no colon': write it as 'Name: value'"),
        (["https://x/", "--ca", "/nowhere"], "--ca /nowhere: [Errno 2] No such file or directory"),
    ],
)
def test_wrong_arguments(doctor, args, said):
    found = doctor(*args)
    assert (found.code, found.text.splitlines()[-1]) == (2, "Error: " + said)


def test_the_json_report(lab, doctor):
    found = doctor(lab.server.url + "/nowhere")
    assert json.loads(found.text)["checks"] == [
        {
            "name": "answer",
            "status": "fail",
            "said": "404",
            "measured": {"status": 404, "content_type": "text/html; charset=utf-8", "url": lab.server.url + "/nowhere"},
            "advice": [
                {
                    "text": "Correct the URL's path: the stream is at SSEMUX_URL, after a prefix that a proxy may add.",
                    "lines": [],
                }
            ],
        }
    ]
