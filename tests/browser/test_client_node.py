"""ssemux.js in Node against a real gunicorn: what it does, its size, how it is served.

Its npm package is tested in ``test_client_package.py``.
"""

from __future__ import annotations

import gzip
import json
import urllib.error
import urllib.request

import pytest

from tests.browser.command import run
from tests.harness.packages import need, need_npm
from tests.harness.servers import ROOT
from tests.unit.cases import CASES

STATIC = ROOT / "flask_ssemux" / "static"
MODULES = ["ssemux.js", "ssemux-poll.js", "ssemux-htmx.js", "ssemux-datastar.js"]
TESTS = ROOT / "tests" / "browser" / "client"
ENV = {"SSEMUX_HEARTBEAT": "1", "SSEMUX_CLIENT_TIMEOUT": "3", "SSEMUX_RETRY": "100"}


def test_parser(tmp_path):
    table = tmp_path / "cases.json"
    cases = [{"title": c.title, "wire": c.frame.decode(), "name": c.name, "text": c.text} for c in CASES]
    table.write_text(json.dumps(cases))
    said = run(need("nodejs", "node"), "--test", TESTS / "parser.test.mjs", CASES=str(table))
    assert "# fail 0" in said and int(said.split("# pass ")[1].split()[0]) > len(cases) * 6, said


ONE = {"SSEMUX_MAX_STREAMS_PER_USER": "1"}


@pytest.mark.parametrize(
    "what, options",
    [
        ("stream", {}),
        ("shared", {}),
        ("growth", {}),
        ("one_user_slot", {**ONE, "SSEMUX_OVER_USER_LIMIT": "refuse"}),
        ("one_user_slot", {**ONE, "SSEMUX_OVER_USER_LIMIT": "oldest"}),
    ],
)
def test_client(gunicorn, what, options):
    server = gunicorn("tests.apps.tabs:create_app()", env={**ENV, **options})
    run(need("nodejs", "node"), "--test", TESTS / f"{what}.test.mjs", URL=server.url, **options)


def test_client_that_polls(gunicorn):
    server = gunicorn("tests.apps.tabs:create_app()", env={**ENV, **ONE})
    other = gunicorn("tests.apps.tabs:create_app()", env={**ENV, **ONE, "SSEMUX_OVER_USER_LIMIT": "oldest"})
    run(need("nodejs", "node"), "--test", TESTS / "poll.test.mjs", URL=server.url, OLDEST=other.url)


def test_the_modules_that_are_served_are_built_from_their_sources(tmp_path):
    need_npm("esbuild")
    run(ROOT / "client" / "build.sh", tmp_path)
    for name in MODULES:
        assert (tmp_path / name).read_bytes() == (STATIC / name).read_bytes(), "run `make client`"


def test_size():
    """The size of what every page loads, as servers compress it; the module for polls is loaded only if it is
    needed.
    """
    assert len(gzip.compress((STATIC / "ssemux.js").read_bytes(), 6)) < 9 * 1024


def ask(url, **headers):
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=5)
    except urllib.error.HTTPError as error:
        return error


@pytest.mark.parametrize("url", ["/events", "/api/live"])
def test_it_is_served_and_a_deploy_is_noticed(flask_run, url):
    server = flask_run("tests.apps.plain:create_app()", env={"SSEMUX_URL": url})
    for name in MODULES:
        answer = ask(f"{server.url}{url}/{name}")
        assert answer.read() == (STATIC / name).read_bytes()
        assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
        assert answer.headers["Cache-Control"] == "no-cache"
        same = ask(f"{server.url}{url}/{name}", **{"If-None-Match": answer.headers["ETag"]})
        assert (same.status, same.read()) == (304, b"")
        assert ask(f"{server.url}{url}/{name}", **{"If-None-Match": '"older"'}).status == 200
