"""An LLM's view (tests/apps/model.py) before, wrapped and as a run, as the clients of such views read it."""

from __future__ import annotations

import json
import signal
import subprocess
import uuid

import pytest

from tests.apps.model import TOKENS
from tests.harness.packages import need, need_npm
from tests.harness.servers import ROOT
from tests.server.conftest import Site

CHUNKS = [{"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": t}}]} for t in TOKENS]


@pytest.mark.parametrize("form", ["before", "wrapped"])
def test_each_client_reads_the_answer_of_a_view(gunicorn, form):
    site = start_site(gunicorn, form)
    page = start_script("ask_model.mjs", site.server.url + "/v1/chat/completions", str(uuid.uuid4()))
    assert ask_openai(site) == TOKENS
    assert read_output(page) == [*map(json.dumps, CHUNKS), "[DONE]"]
    assert site.get("/paid") == {"paid": 2}


def test_each_client_reads_the_answer_that_is_a_run_and_pays_once_also_during_a_deploy(gunicorn):
    site = start_site(gunicorn, "run", workers=2)
    url = site.server.url + "/v1"
    unchanged = start_script("ask_model.mjs", url + "/chat/completions", str(uuid.uuid4()))
    scripts = [start_script("ask_run.mjs", client, url) for client in ("fetch", "openai")]
    assert ask_openai(site) == TOKENS
    assert read_output(unchanged) == [*map(json.dumps, CHUNKS), "[DONE]"]
    assert [list_tokens(read_output(script)) for script in scripts] == [TOKENS, TOKENS]
    deployed = start_script("ask_run.mjs", "fetch", url)
    first = json.loads(deployed.stdout.readline())
    site.server.signal(signal.SIGHUP)
    assert list_tokens([first, *read_output(deployed)]) == TOKENS
    assert site.get("/paid") == {"paid": 5}


def start_site(gunicorn, form, **options):
    env = {"FORM": form, "SSEMUX_HEARTBEAT": "0.3", "SSEMUX_CLIENT_TIMEOUT": "3"}
    return Site(gunicorn("tests.apps.model:create_app()", env=env, **options))


def start_script(name, *arguments):
    """Start a script of tests/clients that asks a model."""
    for package in ("@microsoft/fetch-event-source", "openai"):
        need_npm(package)
    command = [need("nodejs", "node"), str(ROOT / "tests" / "clients" / name), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def read_output(script):
    """Return what the script printed: a JSON text a line."""
    output, errors = script.communicate(timeout=60)
    assert script.returncode == 0, output + errors
    return [json.loads(line) for line in output.splitlines()]


def list_tokens(chunks):
    return [chunk["choices"][0]["delta"]["content"] for chunk in chunks]


def ask_openai(site):
    """Return the tokens that OpenAI's package reads."""
    from openai import OpenAI

    with OpenAI(api_key="none", base_url=site.server.url + "/v1") as client:
        messages = [{"role": "user", "content": "Tell me a tale"}]
        answer = client.chat.completions.create(model="tale", messages=messages, stream=True)
        return [chunk.choices[0].delta.content for chunk in answer if chunk.choices]
