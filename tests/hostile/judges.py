"""Four parsers that share no code with flask_ssemux or with each other: what each of them reads in a stream's bytes.

Each returns the `(event, data, id)` of every event that its client would receive.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import List, Tuple

import httpx
import httpx_sse
import sseclient

from tests.harness.packages import need, need_npm
from tests.harness.parser import parse

Events = List[Tuple[str, str, str]]


def by_the_standard(body: bytes) -> Events:
    """Parse with tests/harness/parser.py, which follows the standard's text."""
    return [(event.event, event.data, event.id) for event in parse(body).events]


def by_httpx_sse(body: bytes) -> Events:
    """Parse with httpx-sse. It reports frames without data as empty events; here no frame is one."""
    response = httpx.Response(200, headers={"content-type": "text/event-stream"}, content=body)
    found = httpx_sse.EventSource(response).iter_sse()
    return [(event.event, event.data, event.id) for event in found]


def by_sseclient(body: bytes) -> Events:
    return [(event.event, event.data, event.id or "") for event in sseclient.SSEClient([body]).events()]


def by_node(body: bytes) -> Events:
    """Parse with eventsource-parser, on which the npm package eventsource is built."""
    need_npm("eventsource-parser")
    script = Path(__file__).with_name("parse.mjs")
    done = subprocess.run([need("nodejs", "node"), str(script)], input=body, stdout=subprocess.PIPE, timeout=60)
    assert done.returncode == 0
    return [tuple(event) for event in json.loads(done.stdout)]


IN_PYTHON = [by_the_standard, by_httpx_sse, by_sseclient]
if not hasattr(httpx_sse._decoders, "SSELineDecoder"):  # before 0.4.2 (Python 3.8) it treated U+2028 as a line's end
    IN_PYTHON.remove(by_httpx_sse)
ALL = [*IN_PYTHON, by_node]
