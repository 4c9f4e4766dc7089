"""``async def`` views under ``streaming``, and ``async def`` snapshots: they run as Flask runs its own async views."""

from __future__ import annotations

import asyncio

import flask
import pytest

import flask_ssemux
from tests.harness.parser import parse

pytest.importorskip("asgiref")

HAS_ASYNC_VIEWS = hasattr(flask.Flask, "ensure_sync")


def numbers(count=2):
    for number in range(count):
        yield "data: %d\n\n" % number


async def answer():
    await asyncio.sleep(0)
    return flask.Response(numbers(), mimetype="text/event-stream")


async def bare():
    return numbers(), 202


async def generate():
    for text in numbers():
        yield text


async def answer_with_async_generator():
    return flask.Response(generate(), mimetype="text/event-stream")


def answer_with_bare_async_generator():
    return generate()


@pytest.fixture
def client(make_app):
    app = make_app()
    app.testing = True
    for view in (answer, bare, generate, answer_with_async_generator, answer_with_bare_async_generator):
        app.add_url_rule("/" + view.__name__, view.__name__, flask_ssemux.streaming(view))
    return app.test_client()


@pytest.mark.skipif(not HAS_ASYNC_VIEWS, reason="Flask 1 has no async views")
@pytest.mark.parametrize("url, status", [("/answer", 200), ("/bare", 202)])
def test_an_async_view_returns_a_generator(client, url, status):
    response = client.get(url)
    assert (response.status_code, response.headers["Content-Type"]) == (status, "text/event-stream")
    assert [event.data for event in parse(response.data).events] == ["0", "1"]


@pytest.mark.skipif(HAS_ASYNC_VIEWS, reason="this Flask has async views")
def test_flask_1_says_that_it_has_no_async_views(client):
    with pytest.raises(flask_ssemux.ApplicationError) as error:
        client.get("/answer")
    assert str(error.value) == (
        "'answer' is an async function, which Flask 1 cannot call: write it with def, or install Flask 2 or newer with "
        "pip install 'flask[async]'"
    )


@pytest.mark.parametrize("view", ["generate", "answer_with_async_generator", "answer_with_bare_async_generator"])
def test_an_async_generator_is_an_error_that_names_the_view(client, view):
    if view == "answer_with_async_generator" and not HAS_ASYNC_VIEWS:
        pytest.skip("Flask 1 has no async views")
    with pytest.raises(flask_ssemux.ApplicationError) as error:
        client.get("/" + view)
    assert str(error.value) == (
        "the view %r returns an asynchronous generator, over which Flask cannot iterate: write the generator with def "
        "instead of async def; the view itself may be async" % view
    )


@pytest.mark.skipif(not HAS_ASYNC_VIEWS, reason="Flask 1 has no async views")
def test_async_snapshots(make_app):
    mux = flask_ssemux.SSEMux()
    app = make_app(mux)
    mux.authorize("<kind>")(lambda user_id, kind: True)

    @mux.snapshot("listed")
    async def make_list():
        await asyncio.sleep(0)
        return [("first", flask.request.args["word"])]

    @mux.snapshot("yielded-<number>")
    async def make_items(number):
        yield "second", number
        await asyncio.sleep(0)
        yield "third", flask.current_app.name

    with flask_ssemux.testing.stream(app, "/events?word=here", channels=["listed", "yielded-7"]) as s:
        s.expect("first", "here")
        s.expect("second", "7")
        s.expect("third", "shop")
