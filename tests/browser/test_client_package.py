"""The npm package of ssemux.js: its files, its types, bundlers, versions of Node, and what docs/client.md says of test
runners.

What its hooks and adapters do in a browser is tested in ``test_frameworks.py``.
"""

from __future__ import annotations

import json
import re
import shutil

import pytest

import flask_ssemux
from tests.browser.client_package import link_packages, pack
from tests.browser.command import run
from tests.distributions import spell_for_npm
from tests.harness.document import block, files
from tests.harness.packages import NODE_MODULES, need, need_node, need_npm
from tests.harness.servers import ROOT

STATIC = ROOT / "flask_ssemux" / "static"
SOURCES = ROOT / "client" / "src"

#: By module of the package: the file that it is.
MODULES = {
    "ssemux.js": STATIC / "ssemux.js",
    "ssemux-poll.js": STATIC / "ssemux-poll.js",
    "htmx.js": STATIC / "ssemux-htmx.js",
    "datastar.js": STATIC / "ssemux-datastar.js",
    "react.js": SOURCES / "react.js",
    "vue.js": SOURCES / "vue.js",
    "subscription.js": SOURCES / "subscription.js",
}

#: Those that have types.
TYPED = ["ssemux", "subscription", "react", "vue", "htmx", "datastar"]
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

#: A strict consumer of the hooks and adapters. Lines below an expected error must be errors.
TYPED_FRAMEWORKS = """
import { SSEMux } from "flask-ssemux";
import { connectDatastar } from "flask-ssemux/datastar";
import { connectHtmx } from "flask-ssemux/htmx";
import * as react from "flask-ssemux/react";
import * as vue from "flask-ssemux/vue";
import { ref } from "vue";

interface Events {
  news: { sale: { sold: number } };
  [jobs: `jobs:${string}`]: { progress: { done: number } };
  "*": { notice: { text: string } };
}
const mux = new SSEMux<Events>("/events");
connectHtmx({}, mux);
connectDatastar({ attribute: () => {}, effect: () => () => {} }, mux);

const news = react.useChannel(mux, "news");
react.useEvent(news, "sale", ({ json }) => json.sold satisfies number);
react.useEvent(mux, "notice", ({ json }) => json.text satisfies string);
react.useEvent(mux, "ssemux.leader", ({ leader }) => leader satisfies boolean);
react.useEvent(news, "sale")?.json.sold satisfies number | undefined;
react.useEvent(react.useChannel(mux, `jobs:${1}`), "progress", ({ json }) => json.done satisfies number);
const late = react.useSSEMux<Events>("/events", { user: 7 });
react.useEvent(react.useChannel(late, null as "news" | null), "sale");
react.useConnection(late).state satisfies string;
// @ts-expect-error: no channel has this name
react.useChannel(mux, "newz");
// @ts-expect-error: the channel has no such event
react.useEvent(news, "sael", () => {});
// @ts-expect-error: the data has no such member
react.useEvent(news, "sale", ({ json }) => json.price);

const its = vue.useChannel(mux, () => "news" as const);
vue.useEvent(its, "sale", ({ json }) => json.sold satisfies number);
vue.useEvent(mux, "notice").value?.json.text satisfies string | undefined;
vue.useChannel(vue.useSSEMux(ref("/events")), ref("anything"));
vue.useConnection(mux).value.leader satisfies boolean;
// @ts-expect-error: no channel has this name
vue.useChannel(mux, "newz");
// @ts-expect-error: the channel has no such event
vue.useEvent(its, "sael");
// @ts-expect-error: refs to events are read only
vue.useEvent(its, "sale").value = undefined;
"""

#: Everything that the package exports, for bundlers.
ALL = """
import { SSEMux } from "flask-ssemux";
import * as react from "flask-ssemux/react";
import * as vue from "flask-ssemux/vue";
import * as htmx from "flask-ssemux/htmx";
import * as datastar from "flask-ssemux/datastar";
console.log(SSEMux, react, vue, htmx, datastar);
"""

WEBPACK = """
const webpack = require("webpack");
const build = (target, entry) => ({
  target, entry, mode: "production", context: __dirname, output: { path: `${__dirname}/${target}` },
  performance: { hints: false },
});
webpack([build("web", "./all.js"), build("node", "./page.js")], (error, stats) => {
  if (error || stats.hasErrors() || stats.hasWarnings()) throw error ?? new Error(stats.toString());
});
"""

PROGRAM = """
const mux = new SSEMux(process.env.URL + "/events");
mux.channel("state:node").on("state", ({ event, json }) => {
  console.log(event, json, mux.leader);
  mux.close();
});
"""

#: The part of `@babel/preset-env`, which most projects have, that Jest needs: `import` becomes `require`.
BABEL_PLUGINS = ["@babel/plugin-transform-dynamic-import", "@babel/plugin-transform-modules-commonjs"]


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """The folder of the package as npm packs it."""
    folder = tmp_path_factory.mktemp("packed") / "package"
    pack(folder)
    return folder


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
    """The folder `client/` contains no copy of the modules: packing takes those that are served or are sources."""
    described = json.loads((packed / "package.json").read_text())
    names = {path.name for path in packed.iterdir()}
    assert names == {"package.json", "README.md", "LICENSE", *MODULES, *(name + ".d.ts" for name in TYPED)}
    for name, file in MODULES.items():
        assert (packed / name).read_bytes() == file.read_bytes()
    assert not [path for path in (ROOT / "client").iterdir() if path.name in MODULES]
    assert described["version"] == spell_for_npm(flask_ssemux.__version__)
    exported = {place for entry in described["exports"].values() if isinstance(entry, dict) for place in entry.values()}
    assert all((packed / place).is_file() for place in exported)


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


def test_webpack(project):
    """All modules in a build for browsers, the client in one for Node; each has the module for polls in a chunk."""
    link_packages(project, "webpack", "react", "vue")
    (project / "all.js").write_text(ALL)
    (project / "page.js").write_text(PAGE)
    (project / "build.cjs").write_text(WEBPACK)
    run(need("nodejs", "node"), "build.cjs", cwd=project)
    assert run(need("nodejs", "node"), project / "node" / "main.js") == "function\n"
    for target in ("web", "node"):
        chunks = [path for path in (project / target).glob("*.js") if path.name != "main.js"]
        assert ["polling" in path.read_text() for path in chunks] == [True]


@pytest.mark.parametrize("requires", [False, True])
def test_versions_of_node(project, gunicorn, requires):
    """A program reads an event, and ends when it has closed its client. Since 22.12, `require` gets modules, too."""
    server = gunicorn("tests.apps.tabs:create_app()")
    importing = "const { SSEMux } = require('flask-ssemux');" if requires else "import { SSEMux } from 'flask-ssemux';"
    program = project / ("program.cjs" if requires else "program.mjs")
    program.write_text(importing + PROGRAM)
    for version in (22, 26) if requires else (18, 22, 26):
        said = run(need_node(version), "--no-warnings", program, URL=server.url, cwd=project)
        assert said == "state 0 true\n"


def test_types():
    compile_types("--project", TESTS / "tsconfig.json")


@pytest.mark.parametrize("module, resolution", [("nodenext", "nodenext"), ("esnext", "node10"), ("esnext", "bundler")])
def test_types_of_the_package(project, module, resolution):
    """`node10` does not read `exports`; `bundler` is what projects with React and Vue have."""
    (project / "page.mts").write_text(TYPED_PAGE)
    (project / "events.mts").write_text(block("client.md", "ts", "// events.ts"))
    files = ["page.mts", "events.mts"]
    if resolution == "bundler":
        link_packages(project, "react", "@types/react", "vue")
        (project / "frameworks.mts").write_text(TYPED_FRAMEWORKS)
        files.append("frameworks.mts")
    options = ["--strict", "--target", "es2022", "--lib", "es2022,dom", "--module", module]
    compile_types("--noEmit", *options, "--moduleResolution", resolution, *files, cwd=project)


def compile_types(*arguments, cwd=ROOT):
    need_npm("typescript")
    run(need("nodejs", "node"), NODE_MODULES / "typescript" / "bin" / "tsc", *arguments, cwd=cwd)


@pytest.mark.parametrize("has_babel", [True, False])
def test_jest(project, gunicorn, tmp_path_factory, has_babel):
    """The files of docs/client.md, and tests against a real server in the same surroundings."""
    server = gunicorn("tests.apps.tabs:create_app()")
    texts = read_documented_files(tmp_path_factory.mktemp("documented"))
    config = texts["jest.config.cjs"].replace('"http://127.0.0.1:8000/"', json.dumps(server.url))
    if has_babel:
        (project / "babel.config.cjs").write_text("module.exports = " + json.dumps({"plugins": BABEL_PLUGINS}))
    else:
        config = re.sub("transformIgnorePatterns: .*", "transform: {},", config)
        (project / "package.json").write_text('{"type": "module"}')
    for name, text in {**texts, "jest.config.cjs": config}.items():
        (project / name).write_text(text)
    shutil.copy(str(TESTS / "server.jest.js"), str(project / "server.test.js"))
    link_packages(project, "jest", "jest-environment-jsdom", *BABEL_PLUGINS)
    options = [] if has_babel else ["--experimental-vm-modules"]
    jest = project / "node_modules" / "jest" / "bin" / "jest.js"
    said = run(need("nodejs", "node"), *options, jest, "--runInBand", "--testTimeout=30000", cwd=project)
    assert "4 passed, 4 total" in said


def read_documented_files(folder):
    """Return the files that docs/client.md shows for Jest and Vitest, by their names."""
    files("client.md", folder)
    return {path.name: path.read_text() for path in folder.iterdir() if path.suffix in (".js", ".cjs")}


def test_vitest(project, gunicorn, tmp_path_factory):
    """The files of docs/client.md, the tests against a real server that Jest runs, and those of React and Vue."""
    server = gunicorn("tests.apps.tabs:create_app()")
    texts = read_documented_files(tmp_path_factory.mktemp("documented"))
    config = texts["vitest.config.js"].replace('"http://127.0.0.1:8000/"', json.dumps(server.url))
    (project / "package.json").write_text('{"type": "module"}')
    (project / "vitest.config.js").write_text(config)
    for name in ("vitest.setup.js", "progress.test.js"):
        (project / name).write_text(texts[name])
    shutil.copy(str(TESTS / "server.jest.js"), str(project / "server.test.js"))
    shutil.copy(str(TESTS / "hooks.vitest.js"), str(project / "hooks.test.js"))
    link_packages(project, "vitest", "jsdom", "react", "react-dom", "vue")
    said = run(
        need_node(22),
        project / "node_modules" / "vitest" / "vitest.mjs",
        "run",
        "--testTimeout=30000",
        cwd=project,
        NO_COLOR="1",
    )
    assert "Tests  10 passed (10)" in said, said
