"""Runs PyPI's clients: ``read.py <tasks>``, a JSON list of ``{task, client, url, method}``.

Each line of the output is a JSON object with its ``task``: a message that the client reported, ``{event, data, id}``. A
client is left at the message ``end``.

Each client is used as its documentation says. One that does not reconnect by itself is called again, after the
``retry`` that it knows and with the last id that it reported.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import sys
import threading
import time

import aiohttp
import httpx
import httpx_sse
import sseclient
from aiohttp_sse_client.client import EventSource


class Task:
    """A client that reads a URL."""

    def __init__(self, task, client, url, method) -> None:
        self.task, self.client, self.url, self.method = task, client, url, method
        self.retry = 1.0
        self.id = ""

    @property
    def headers(self):
        return {"Last-Event-ID": self.id} if self.id else {}

    def run(self):
        with contextlib.suppress(SystemExit):
            CLIENTS[self.client](self)

    def report(self, event, data, own_id, retry=None):
        self.retry = self.retry if retry is None else int(retry) / 1000
        self.id = own_id or self.id
        line = {"task": self.task, "event": event or "message", "data": data, "id": own_id or ""}
        sys.__stdout__.write(json.dumps(line) + "\n")
        sys.__stdout__.flush()
        if event == "end" or data == "[DONE]":
            raise SystemExit

    def repeat(self, read):
        """Read with a client that does not reconnect by itself."""
        while True:
            with contextlib.suppress(httpx.TransportError, aiohttp.ClientError):
                read()
            time.sleep(self.retry)


def read_by_httpx_sse(task):
    def read():
        with httpx_sse.connect_sse(client, task.method, task.url, headers=task.headers) as source:
            for message in source.iter_sse():
                task.report(message.event, message.data, message.id, message.retry)

    with httpx.Client(timeout=30) as client:
        task.repeat(read)


def read_by_sseclient_py(task):
    def read():
        with client.stream(task.method, task.url, headers=task.headers) as response:
            for message in sseclient.SSEClient(response.iter_bytes()).events():
                task.report(message.event, message.data, message.id, message.retry)

    with httpx.Client(timeout=30) as client:
        task.repeat(read)


def read_by_sseclient(task):
    for message in load_sseclient().SSEClient(task.url):
        task.report(message.event, message.data, message.id)


def load_sseclient():
    """Import PyPI's ``sseclient``, the file beside the folder ``sseclient`` of ``sseclient-py``."""
    path = sseclient.__file__.replace("sseclient/__init__.py", "sseclient.py")
    spec = importlib.util.spec_from_file_location("sseclient_alone", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read_by_aiohttp_sse_client(task):
    """It reconnects by itself after a clean end, and raises if the connection was cut."""

    async def read():
        async with EventSource(task.url, option={"method": task.method}, headers=task.headers) as source:
            async for message in source:
                task.report(message.type, message.data, message.last_event_id)

    task.retry = 0.02
    task.repeat(lambda: asyncio.run(read()))


CLIENTS = {
    "httpx-sse": read_by_httpx_sse,
    "sseclient-py": read_by_sseclient_py,
    "sseclient": read_by_sseclient,
    "aiohttp-sse-client": read_by_aiohttp_sse_client,
}

if __name__ == "__main__":
    sys.stdout = sys.stderr  # sseclient prints each lost connection
    for wanted in json.loads(sys.argv[1]):
        threading.Thread(target=Task(**wanted).run).start()
