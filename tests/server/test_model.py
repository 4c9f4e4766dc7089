"""An LLM's view (tests/apps/model.py) before, wrapped and moved, as the clients of such views read it."""

from __future__ import annotations

import json
import subprocess
import uuid

import pytest

from tests.apps.model import TOKENS
from tests.harness.packages import need, need_npm
from tests.harness.servers import ROOT
from tests.server.conftest import Site

CHUNKS = [{"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": t}}]} for t in TOKENS]


@pytest.mark.parametrize("form", ["before", "wrapped", "moved"])
def test_each_client_reads_the_answer_and_pays_once(gunicorn, form):
    env = {"FORM": form, "SSEMUX_HEARTBEAT": "0.3", "SSEMUX_CLIENT_TIMEOUT": "3"}
    site = Site(gunicorn("tests.apps.model:create_app()", env=env))
    page = start_page(site, str(uuid.uuid4()))
    assert ask_openai(site, str(uuid.uuid4())) == TOKENS
    assert read_page(page) == [*CHUNKS, "[DONE]"]
    assert site.get("/paid") == {"paid": 2}
    if form == "moved":
        assert read_page(start_page(site, "cut-%s" % uuid.uuid4())) == [*CHUNKS, "[DONE]"]
        assert site.get("/paid") == {"paid": 3}


def start_page(site, key):
    """Start the page's client, @microsoft/fetch-event-source."""
    need_npm("@microsoft/fetch-event-source")
    script = str(ROOT / "tests" / "clients" / "ask_model.mjs")
    command = [need("nodejs", "node"), script, site.server.url + "/v1/chat/completions", key]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def read_page(page):
    """Return the data of the messages that the page got."""
    output, errors = page.communicate(timeout=60)
    assert page.returncode == 0, output + errors
    return [data if data == "[DONE]" else json.loads(data) for data in map(json.loads, output.splitlines())]


def ask_openai(site, key):
    """Return the tokens that OpenAI's package reads."""
    from openai import OpenAI

    headers = {"X-User": "ada", "X-Answer": key}
    with OpenAI(api_key="none", base_url=site.server.url + "/v1", default_headers=headers) as client:
        messages = [{"role": "user", "content": "Tell me a tale"}]
        answer = client.chat.completions.create(model="tale", messages=messages, stream=True)
        return [chunk.choices[0].delta.content for chunk in answer if chunk.choices]
