"""A client behind an ASGI server, whose WSGI adapter passes its messages on: one of them says that the client has left.

Adapters that keep the messages to themselves give nothing to ask. Nothing is read from or written to the client here.
"""

from __future__ import annotations

from typing import Any, Mapping

from .client_socket import ClientSocket, Watching

#: Methods of requests whose body nobody reads later: who waits for the end of the messages takes the body's, too.
BODILESS = ("GET", "HEAD")

#: Messages after which an adapter that never says the one that is waited for is asked no more.
MESSAGES = 1000


def is_told(environ: Mapping[str, Any]) -> bool:
    """Whether the end of the messages can be waited for, as in a2wsgi."""
    body = environ.get("wsgi.input")
    has_messages = "asgi.scope" in environ and hasattr(body, "receive") and hasattr(body, "loop")
    return has_messages and environ.get("REQUEST_METHOD") in BODILESS


def open_peer(environ: Mapping[str, Any]) -> ClientSocket:
    """Return the other end of a request's connection, under whatever server."""
    return ASGIClientSocket(environ) if is_told(environ) else ClientSocket(environ)


class ASGIClientSocket(ClientSocket):
    """The other end of a connection that an ASGI server has."""

    __slots__ = ("_receive", "_loop", "_listening", "_left")

    def __init__(self, environ: Mapping[str, Any]) -> None:
        super().__init__(environ)
        self._receive = environ["wsgi.input"].receive
        self._loop = environ["wsgi.input"].loop
        self._listening: Any = None
        self._left = False

    @property
    def is_watched(self) -> bool:
        return True

    def watch(self, who: Watching) -> None:
        import asyncio  # loaded by the adapter; without one it would be 4 MB for nothing

        self._listening = asyncio.run_coroutine_threadsafe(self._listen(who), self._loop)

    async def _listen(self, who: Watching) -> None:
        for _ in range(MESSAGES):
            if (await self._receive())["type"] == "http.disconnect":
                self._left = True
                who.client_left()
                return

    def has_left(self) -> bool:
        return self._left

    def sever(self) -> None:
        """Cut the connection off, where the server keeps it beside its messages, as uvicorn does."""
        transport: Any = getattr(getattr(self._receive, "__self__", None), "transport", None)
        if hasattr(transport, "abort"):
            self._call(transport.abort)

    def close(self) -> None:
        listening, self._listening = self._listening, None
        if listening is not None and not listening.done():
            self._call(listening.cancel)
        super().close()

    def disown(self) -> None:
        self._listening = None
        super().disown()

    def _call(self, function: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:
            pass  # the loop has ended, and all connections with it
