"""Saves an uploaded file, or refuses it with a reason.

Only the name and the encoding are checked here. The job checks the rows later (checks.py).
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
    """The upload cannot become a job. The message is for the person who sent it.

    :param text: the message in English, with ``{names}``.
    :param values: what stands for the names.
    """

    def __init__(self, text, **values):
        super().__init__(text.format(**values) if values else text)
        self.text = text
        self.values = values


def save_upload():
    """Save the request's file and return its description.

    :raises Refused: the file cannot become a job.
    """
    file = request.files.get("file")
    if file is None or not file.filename:
        raise Refused("No file was chosen: send one in the form field 'file'.")
    name = clean_name(file.filename)
    kind = get_kind(name)
    data = file.read()
    check_content(name, kind, data)
    return Upload(name, kind, len(data), checks.count_lines(data), _save_data(data))


def clean_name(name):
    """Return the last part of a path, without unprintable characters (some of them reorder the text of a line)."""
    last = name.replace("\\", "/").rpartition("/")[2]
    printable = "".join(char for char in last if char.isprintable()).strip()
    stem, dot, extension = printable.rpartition(".")
    return (stem[: MAX_NAME - len(extension) - 1] + dot + extension)[-MAX_NAME:]


def get_kind(name):
    """Return ``csv`` or ``text``, by the extension."""
    extension = os.path.splitext(name)[1].lower()
    if extension not in KINDS:
        *most, last = KINDS
        words = "{name!r} is not a file that this page can check: its name must end in {most} or {last}."
        raise Refused(words, name=name, most=", ".join(most), last=last)
    return KINDS[extension]


def check_content(name, kind, data):
    """Refuse data that is not text of this kind."""
    if not data.strip():
        raise Refused("{name!r} is empty.", name=name)
    if b"\0" in data:
        words = "{name!r} is not UTF-8 text: it contains NUL bytes. Is it a binary file, or UTF-16?"
        raise Refused(words, name=name)
    if kind == "csv":
        _check_encoding(name, data)


def _check_encoding(name, data):
    """Refuse a CSV file that is not UTF-8 as a whole. For text files the job reports the lines that are not."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        words = (
            "{name!r} is not UTF-8 text: byte 0x{byte:02x} at position {position}. "
            "Save it as 'CSV UTF-8' and send it again."
        )
        raise Refused(words, name=name, byte=data[error.start], position=error.start) from error


def _save_data(data):
    path = os.path.join(current_app.config["LEGACY_APP_UPLOADS"], uuid.uuid4().hex)
    with open(path, "wb") as file:
        file.write(data)
    return path
