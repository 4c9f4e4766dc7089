"""sse-starlette: a response with a generator, and a queue for each stream, which the publisher fills."""

from __future__ import annotations

import asyncio
import os
from typing import AsyncIterator

from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from benchmarks import event

HEARTBEAT = 600

queues: set[asyncio.Queue[dict[str, str]]] = set()
tasks: set[asyncio.Task[None]] = set()


async def events(request: Request) -> EventSourceResponse:
    return EventSourceResponse(_events(), ping=HEARTBEAT)


async def _events() -> AsyncIterator[dict[str, str]]:
    queue: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    queues.add(queue)
    try:
        while True:
            yield await queue.get()
    finally:
        queues.discard(queue)


async def ready(request: Request) -> JSONResponse:
    return JSONResponse({"pid": os.getpid()})


async def publish(request: Request) -> JSONResponse:
    asked = request.query_params
    task = asyncio.create_task(_publish(int(asked["events"]), float(asked["rate"]), int(asked["size"])))
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    return JSONResponse({"pid": os.getpid()})


async def _publish(number: int, rate: float, size: int) -> None:
    start = asyncio.get_running_loop().time()
    for count in range(number):
        await asyncio.sleep(start + count / rate - asyncio.get_running_loop().time())
        told = {"event": event.NAME, "data": event.make_data(size)}
        for queue in queues:
            queue.put_nowait(told)


application = Starlette(routes=[Route("/events", events), Route("/ready", ready), Route("/publish", publish)])
