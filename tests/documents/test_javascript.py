"""The JavaScript of the pages that no other test runs: esbuild parses each block, all of them in one process.

Scripts in HTML are blocks as well. `tests/browser` runs the pages that are applications.
"""

from __future__ import annotations

import json
import re
import subprocess

from tests.documents.census import list_unread
from tests.harness.packages import need, need_npm

#: Parses each source as a module that may await; prints the errors as JSON, by number.
PARSE = """
const { transformSync } = require(process.argv[1]);
const errors = JSON.parse(require("fs").readFileSync(0)).map(([loader, text]) => {
  try {
    transformSync(text, { loader, format: "esm", target: "es2022", logLevel: "silent", jsx: "preserve" });
  } catch (error) {
    return error.message;
  }
  return "";
});
console.log(JSON.stringify(errors));
"""

#: The loaders of esbuild, by the languages of blocks.
LOADERS = {"js": "js", "jsx": "jsx", "ts": "ts", "tsx": "tsx"}


def list_scripts():
    """Return (where, loader, source) of each script."""
    for language, loader in LOADERS.items():
        for found in list_unread(language):
            yield "%s:%d" % (found.document, found.line), loader, found.source
    for found in list_unread("html"):
        for source in re.findall(r"<script[^>]*>(.*?)</script>", found.source, re.S):
            where = "%s:%d" % (found.document, found.line)
            yield where, "js", re.sub(r"\{\{.*?\}\}", "template", source)


def parse(scripts):
    """Return the errors of the scripts, where there are any."""
    node, esbuild = need("nodejs", "node"), need_npm("esbuild")
    text = json.dumps([[loader, source] for _, loader, source in scripts])
    done = subprocess.run([node, "-e", PARSE, str(esbuild)], input=text, capture_output=True, text=True, check=True)
    return [(scripts[number][0], error) for number, error in enumerate(json.loads(done.stdout)) if error]


def test_each_script_is_javascript():
    scripts = list(list_scripts())
    assert len(scripts) > 10
    assert parse(scripts) == []


def test_a_wrong_script_is_noticed():
    ((where, error),) = parse([("right", "js", "await 1;"), ("wrong", "js", "const = 1;")])
    assert where == "wrong" and "Expected identifier" in error
