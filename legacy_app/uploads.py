"""An uploaded file, from the form to the disk: taken, or refused with the reason.

Judges a file by its name and its first look; what its rows are worth is
checked later, by the job (checks.py).
"""

from __future__ import annotations

import os
import uuid
from collections import namedtuple

from flask import current_app, request

from . import checks

KINDS = {".csv": "csv", ".txt": "text", ".log": "text"}
MAX_NAME = 120

Upload = namedtuple("Upload", "name kind size lines path")


class Refused(Exception):
    """The upload cannot become a job; the message is for the person who sent it."""


def take():
    """Save the request's file and describe it; raises :exc:`Refused`."""
    file = request.files.get("file")
    if file is None or not file.filename:
        raise Refused("No file was chosen: send one in the form field 'file'.")
    name = clean_name(file.filename)
    kind = kind_of(name)
    data = file.read()
    judge(name, kind, data)
    return Upload(name, kind, len(data), checks.count_lines(data), _save(data))


def clean_name(name):
    """The last part of a path, without characters that do not print (they can reorder a line)."""
    last = name.replace("\\", "/").rpartition("/")[2]
    printable = "".join(char for char in last if char.isprintable()).strip()
    stem, dot, extension = printable.rpartition(".")
    return (stem[: MAX_NAME - len(extension) - 1] + dot + extension)[-MAX_NAME:]


def kind_of(name):
    """``csv`` or ``text``, by the extension."""
    extension = os.path.splitext(name)[1].lower()
    if extension not in KINDS:
        raise Refused(f"{name!r} is not a file this page can check: its name must end in {_listed(KINDS)}.")
    return KINDS[extension]


def judge(name, kind, data):
    """Refuse data that is no text of this kind."""
    if not data.strip():
        raise Refused(f"{name!r} is empty.")
    if b"\0" in data:
        raise Refused(f"{name!r} is not UTF-8 text: it holds NUL bytes. Is it a binary file, or UTF-16?")
    if kind == "csv":
        _judge_encoding(name, data)


def _judge_encoding(name, data):
    """A CSV has to decode as a whole; in a text file the job reports the lines that do not."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(
            f"{name!r} is not UTF-8 text: byte 0x{data[error.start]:02x} at position {error.start}. "
            "Save it as 'CSV UTF-8' and send it again."
        ) from error


def _save(data):
    path = os.path.join(current_app.config["LEGACY_APP_UPLOADS"], uuid.uuid4().hex)
    with open(path, "wb") as file:
        file.write(data)
    return path


def _listed(names):
    *most, last = names
    return f"{', '.join(most)} or {last}"
