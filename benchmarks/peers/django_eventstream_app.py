"""django-eventstream: its view, and events from a thread of the same process. It keeps no history."""

from __future__ import annotations

import os
import threading
from typing import Any

import django
from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.urls import include, path

from benchmarks import event

settings.configure(
    ROOT_URLCONF=__name__, SECRET_KEY="bench", ALLOWED_HOSTS=["*"], INSTALLED_APPS=["django_eventstream"], USE_TZ=True
)
django.setup()


def ready(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"pid": os.getpid()})


def publish(request: HttpRequest) -> JsonResponse:
    asked = int(request.GET["events"]), float(request.GET["rate"]), int(request.GET["size"])
    threading.Thread(target=_publish, args=asked, daemon=True).start()
    return JsonResponse({"pid": os.getpid()})


def _publish(events: int, rate: float, size: int) -> None:
    from django_eventstream import send_event

    for data in event.yield_paced(events, rate, size):
        send_event(event.CHANNEL, event.NAME, data, json_encode=False)


def _application() -> Any:
    from django.core.asgi import get_asgi_application

    return get_asgi_application()


urlpatterns = [
    path("ready", ready),
    path("publish", publish),
    path("events", include("django_eventstream.urls"), {"channels": [event.CHANNEL]}),
]
application = _application()
