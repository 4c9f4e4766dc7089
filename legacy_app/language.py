"""The language of the pages: German for a browser that prefers it (Accept-Language), and English for all others.

The English texts stand in the templates and scripts, and are the keys of ``translations/de.json``. What the application
stores and publishes (a job's message, its notes) is English, with numbers; the pages translate it when they show it.
static/texts.js does the same in the browser, with the same file.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from flask import has_request_context, request
from markupsafe import Markup

LANGUAGES = ("en", "de")
TEXTS = {"de": json.loads(Path(__file__).with_name("translations").joinpath("de.json").read_text(encoding="utf-8"))}

_NUMBER = re.compile(r"\d+(?:,\d{3})*")


def init_app(app):
    app.context_processor(
        lambda: {
            "language": get_language(),
            "texts": TEXTS.get(get_language(), {}),
            "_": translate,
            "html": translate_html,
            "message": translate_message,
            "number": format_number,
            "size": format_size,
        }
    )
    app.after_request(name_language)


def get_language():
    """Return the language of the current request's pages."""
    return request.accept_languages.best_match(LANGUAGES, "en") if has_request_context() else "en"


def name_language(response):
    """Say which language a page has, and that it depends on the request."""
    if response.mimetype == "text/html":
        response.headers["Content-Language"] = get_language()
        response.vary.add("Accept-Language")
    return response


def translate(text, **values):
    """Return a text in the page's language, with these values for its ``{names}``."""
    found = _find_text(text)
    return found.format(**values) if values else found


def translate_html(text, **values):
    """The same for a text with HTML in it. The values are escaped."""
    found = Markup(_find_text(text))
    return found.format(**values) if values else found


def translate_message(text):
    """Return a message that has numbers in it: ``7 rows, all good`` is found as ``{0} rows, all good``."""
    numbers = _NUMBER.findall(text)
    places = iter("{%d}" % index for index in range(len(numbers)))
    template = _NUMBER.sub(lambda _: next(places), text)
    found = _find_text(template)
    return text if found == template else found.format(*(format_number(int(it.replace(",", ""))) for it in numbers))


def format_number(number):
    """Return a whole number with the separators of the page's language."""
    text = f"{number:,}"
    return text.replace(",", ".") if get_language() == "de" else text


def format_size(count):
    """Return a number of bytes, as static/texts.js writes it."""
    if count < 1000:
        return "1 Byte" if count == 1 else f"{count} Bytes"
    size, unit = (count / 1e3, "kB") if count < 1e6 else (count / 1e6, "MB")
    text = f"{size:.1f} {unit}"
    return text.replace(".", ",") if get_language() == "de" else text


def format_limit(count):
    """Return the maximum size of an upload, in binary units, as it is configured."""
    if count < 1024 * 1024:
        return translate("{count} bytes", count=format_number(count))
    text = f"{count / 1024 / 1024:.3g} MiB"
    return text.replace(".", ",") if get_language() == "de" else text


def _find_text(text):
    return TEXTS.get(get_language(), {}).get(text, text)
