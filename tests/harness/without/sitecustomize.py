"""Removes what ``tests/harness/without`` names. Python imports this file first if the folder is in PYTHONPATH."""

import builtins
import importlib
import importlib.util
import json
import os
import re
import sys
from importlib.machinery import SourceFileLoader

_wanted = json.loads(os.environ["TESTS_WITHOUT"])


def _take_names(names):
    """Delete these attributes of modules; a name that ends in ``*`` stands for all names that begin so."""
    for name in names:
        module, _, attribute = name.partition(".")
        module = importlib.import_module(module)
        for found in [it for it in dir(module) if re.fullmatch(attribute.replace("*", ".*"), it)]:
            delattr(module, found)
            if found in getattr(module, "__all__", ()):
                module.__all__.remove(found)


def _take_folder(folder):
    """Make all files in this folder impossible to open or to read as a link."""

    def forbid(function):
        def call(path, *args, **options):
            if str(path).startswith(folder):
                raise FileNotFoundError(2, "No such file or directory", path)
            return function(path, *args, **options)

        return call

    builtins.open, os.readlink = forbid(builtins.open), forbid(os.readlink)


def _rename_in_sources(rules):
    """Compile modules from sources in which these regular expressions are replaced.

    :param rules: by the name of the module or of its package: pairs of an expression and its replacement.
    """
    get_code = SourceFileLoader.get_code

    def get_renamed_code(loader, name):
        pairs = [pair for module, pairs in rules.items() if (name + ".").startswith(module + ".") for pair in pairs]
        if not pairs:
            return get_code(loader, name)
        path = loader.get_filename(name)
        source = importlib.util.decode_source(loader.get_data(path))
        for expression, replacement in pairs:
            source = re.sub(expression, replacement, source)
        return compile(source, path, "exec", dont_inherit=True)

    SourceFileLoader.get_code = get_renamed_code


_take_names(_wanted["names"])
sys.modules.update(dict.fromkeys(_wanted["modules"]))
if _wanted["folder"]:
    _take_folder(_wanted["folder"])
_rename_in_sources(_wanted["renamed"])
