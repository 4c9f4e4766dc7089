"""An event's data as the text that is sent: a str as it is, anything else as JSON; and what JSON cannot express.

How JSON is written is up to the caller: an application has its own provider. No line ends and no fields here; no I/O
but what the caller's function does.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Callable, List, NamedTuple, Tuple

from ..errors import InvalidEvent
from ..util.printable import show_value

#: What functions that write JSON raise for data that JSON cannot express. orjson's own error is a TypeError.
REFUSALS = (TypeError, ValueError, OverflowError, RecursionError)

#: The maximum number of steps from the data to the part that an error names.
MAX_STEPS = 20

#: The parts of a container: how each is written in Python, such as ``['at']``, and its value.
Parts = List[Tuple[str, Any]]


class JSONWriter(NamedTuple):
    """How data becomes JSON.

    :param dumps: returns JSON as text, or as UTF-8 as orjson does.
    :param advice: what to do about data that ``dumps`` refuses.
    """

    dumps: Callable[[Any], str | bytes]
    advice: str = "convert it before you publish"


def write_compact(data: Any) -> str:
    """Write JSON as Python's ``json`` does, in its shortest form."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


#: How data becomes JSON if neither an application nor a ``Publisher`` says it.
PLAIN = JSONWriter(write_compact)


def convert_to_text(data: Any, writer: JSONWriter = PLAIN) -> str:
    """Return data as the text that is sent: a str as it is, anything else as JSON.

    What ``dumps`` refuses and Python's ``json`` takes is sent as Python writes it: a dict whose keys cannot be sorted,
    for example, which Flask's provider refuses.

    :raises InvalidEvent: neither takes it; names the part of the data, its type and its place.
    """
    if isinstance(data, str):
        return data if type(data) is str else str.__str__(data)  # a subclass may have a str() and a + of its own
    try:
        return _write(data, writer.dumps)
    except _NotText as error:
        raise InvalidEvent(
            "the function that writes JSON returned a %s: the application's provider, or Publisher(dumps=...), has to "
            "return text, or UTF-8 as bytes" % error
        ) from None
    except REFUSALS as error:
        if writer.dumps is write_compact:
            raise _make_refusal(data, writer, error) from None
        refusal = error
    try:
        return _write(data, write_compact)
    except REFUSALS:
        raise _make_refusal(data, writer, refusal) from None


class _NotText(TypeError):
    """The function that writes JSON returned something else; its name is the type of that."""


class _NotJSON(ValueError):
    """Python writes NaN and Infinity, which JSON does not have."""


def _write(data: Any, dumps: Callable[[Any], str | bytes]) -> str:
    text = dumps(data)
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    if not isinstance(text, str):
        raise _NotText(type(text).__name__)
    if "NaN" in text or "Infinity" in text:
        _refuse_constants(text)
    return text


def _refuse_constants(text: str) -> None:
    """
    :raises _NotJSON: the text has NaN or Infinity outside of its strings.
    """
    try:
        json.loads(text, parse_constant=_refuse_constant)
    except _NotJSON:
        raise
    except ValueError:
        pass  # the caller's function writes something other than JSON


def _refuse_constant(name: str) -> None:
    raise _NotJSON("JSON has no %s, and JSON.parse refuses it" % name)


# -- which part is to blame ----------------------------------------------------


def _make_refusal(data: Any, writer: JSONWriter, error: BaseException) -> InvalidEvent:
    place, value, error = _find_refused_part(data, writer.dumps, error)
    kind, rule = type(value).__name__, "data must be text or what JSON can express"
    advice = "send None or a text in its place" if isinstance(error, _NotJSON) else writer.advice
    found = "is of type %s" % kind if place == "data" else "has a part of type %s" % kind
    return InvalidEvent(
        "%s; %s is %s of type %s (%s); %s" % (rule, place, show_value(value), kind, error, advice),
        "%s, but %s; %s" % (rule, found, advice),
    )


def _find_refused_part(
    data: Any, dumps: Callable[[Any], str | bytes], error: BaseException
) -> tuple[str, Any, BaseException]:
    """Return the smallest part that is refused: its place, its value, and the error."""
    place, seen = "data", [data]
    while len(seen) <= MAX_STEPS and not isinstance(error, RecursionError):
        found = _find_refused(_list_parts(seen[-1]), dumps)
        if found is None or any(found[1] is one for one in seen):
            break
        place += found[0]
        seen.append(found[1])
        error = _try_to_write(found[1], dumps) or error
    return place, seen[-1], error


def _find_refused(parts: Parts, dumps: Callable[[Any], str | bytes]) -> tuple[str, Any] | None:
    """Return the first part that is refused by itself; None if there is none.

    It searches by halves, so it writes about twice as much as there is.
    """
    while len(parts) > 1:
        half = parts[: len(parts) // 2]
        is_in_half = _try_to_write([value for _, value in half], dumps) is not None
        parts = half if is_in_half else parts[len(half) :]
    return parts[0] if parts and _try_to_write(parts[0][1], dumps) is not None else None


def _try_to_write(value: Any, dumps: Callable[[Any], str | bytes]) -> BaseException | None:
    """Return the error with which a value is refused; None if it is taken."""
    try:
        _write(value, dumps)
    except Exception as error:
        return error
    return None


def _list_parts(value: Any) -> Parts:
    if isinstance(value, dict):
        return [("[%s]" % show_value(key), part) for key, part in value.items()]
    if isinstance(value, (list, tuple)):
        return [("[%d]" % index, part) for index, part in enumerate(value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(".%s" % field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    return []
