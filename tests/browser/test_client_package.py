"""The npm package of ssemux.js: its files, its types, bundlers, and Jest with the lines of docs/client.md."""

from __future__ import annotations

import json
import re
import shutil

import pytest

import flask_ssemux
from tests.browser.command import run
from tests.distributions import spell_for_npm
from tests.harness.packages import NODE_MODULES, need, need_npm
from tests.harness.servers import ROOT

STATIC = ROOT / "flask_ssemux" / "static"
MODULES = ["ssemux.js", "ssemux-poll.js"]
TESTS = ROOT / "tests" / "browser" / "client"

PAGE = """
import { SSEMux } from "flask-ssemux";
console.log(typeof SSEMux);
"""

TYPED_PAGE = """
import { SSEMux, type Message } from "flask-ssemux";
const done = (message: Message): number => message.json.done;
new SSEMux("/events").channel("jobs:42").on("progress", done);
// @ts-expect-error: a state cannot be set
new SSEMux("/events").state = "open";
"""

#: The part of `@babel/preset-env`, which most projects have, that Jest needs: `import` becomes `require`.
BABEL_PLUGINS = ["@babel/plugin-transform-dynamic-import", "@babel/plugin-transform-modules-commonjs"]


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """The folder of the package as npm packs it."""
    folder = tmp_path_factory.mktemp("packed")
    run(need("npm", "npm"), "pack", "--pack-destination", folder, cwd=ROOT / "client")
    (archive,) = folder.glob("*.tgz")
    run("tar", "xzf", archive, cwd=folder)
    return folder / "package"


@pytest.fixture
def project(packed, tmp_path):
    """An application in which the package is installed."""
    shutil.copytree(str(packed), str(tmp_path / "node_modules" / "flask-ssemux"))
    return tmp_path


def forget_exports(project):
    """Leave of the package what a program sees that does not read `exports`, such as Parcel by default."""
    file = project / "node_modules" / "flask-ssemux" / "package.json"
    described = json.loads(file.read_text())
    del described["exports"]
    file.write_text(json.dumps(described))


def test_files(packed):
    """The folder `client/` contains no copy of the modules: packing takes those that the server serves."""
    described = json.loads((packed / "package.json").read_text())
    names = {path.name for path in packed.iterdir()}
    assert names == {"package.json", "README.md", "LICENSE", "ssemux.d.ts", *MODULES}
    for name in MODULES:
        assert (packed / name).read_bytes() == (STATIC / name).read_bytes()
    assert described["version"] == spell_for_npm(flask_ssemux.__version__)


@pytest.mark.parametrize("reads_exports", [True, False])
@pytest.mark.parametrize("platform", ["browser", "node"])
def test_bundlers(project, platform, reads_exports):
    """The second module stays a file of its own, which is loaded when it is needed."""
    need_npm("esbuild")
    if not reads_exports:
        forget_exports(project)
    (project / "page.js").write_text(PAGE)
    options = ["--bundle", "--splitting", "--format=esm", "--platform=" + platform, "--outdir=built"]
    run(NODE_MODULES / "esbuild" / "bin" / "esbuild", "page.js", *options, "--out-extension:.js=.mjs", cwd=project)
    assert run(need("nodejs", "node"), project / "built" / "page.mjs") == "function\n"
    assert len(list((project / "built").glob("ssemux-poll-*.mjs"))) == 1


def test_types():
    compile_types("--project", TESTS / "tsconfig.json")


@pytest.mark.parametrize("module, resolution", [("nodenext", "nodenext"), ("esnext", "node10")])
def test_types_of_the_package(project, module, resolution):
    """`node10` does not read `exports`."""
    (project / "page.mts").write_text(TYPED_PAGE)
    options = ["--strict", "--target", "es2022", "--lib", "es2022,dom", "--module", module]
    compile_types("--noEmit", *options, "--moduleResolution", resolution, "page.mts", cwd=project)


def compile_types(*arguments, cwd=ROOT):
    need_npm("typescript")
    run(need("nodejs", "node"), NODE_MODULES / "typescript" / "bin" / "tsc", *arguments, cwd=cwd)


@pytest.mark.parametrize("has_babel", [True, False])
def test_jest(project, gunicorn, has_babel):
    """The files of docs/client.md, and tests against a real server in the same surroundings."""
    server = gunicorn("tests.apps.tabs:create_app()")
    files = read_documented_files()
    config = files["jest.config.cjs"].replace('"http://127.0.0.1:8000/"', json.dumps(server.url))
    if has_babel:
        (project / "babel.config.cjs").write_text("module.exports = " + json.dumps({"plugins": BABEL_PLUGINS}))
    else:
        config = re.sub("transformIgnorePatterns: .*", "transform: {},", config)
        (project / "package.json").write_text('{"type": "module"}')
    for name, text in {**files, "jest.config.cjs": config}.items():
        (project / name).write_text(text)
    shutil.copy(str(TESTS / "server.jest.js"), str(project / "server.test.js"))
    for name in ("jest", "jest-environment-jsdom", *BABEL_PLUGINS):
        link_package(project, name)
    options = [] if has_babel else ["--experimental-vm-modules"]
    jest = project / "node_modules" / "jest" / "bin" / "jest.js"
    said = run(need("nodejs", "node"), *options, jest, "--runInBand", "--testTimeout=30000", cwd=project)
    assert "4 passed, 4 total" in said


def read_documented_files():
    """Return the files that docs/client.md shows for Jest, by the names in their first lines."""
    text = (ROOT / "docs" / "client.md").read_text().split("\n## Tests with Jest and jsdom\n")[1].split("\n## ")[0]
    return dict(re.findall(r"```js\n// (\S+)\n(.*?)```", text, re.S))


def link_package(project, name):
    need_npm(name)
    link = project / "node_modules" / name
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(NODE_MODULES / name)
