// The rules for all JavaScript of the repository: what runs in browsers, and what the tests run in Node.

import js from "@eslint/js";
import globals from "globals";

const IN_NODE = ["benchmarks/**/*.mjs", "tests/**/*.mjs", "tests/**/*.js"];
const IN_BROWSERS = ["client/src/**/*.js", "flask_ssemux/static/**/*.js", "legacy_app/static/**/*.js"];

export default [
  {
    ignores: [
      "**/node_modules/**",
      "build/**",
      "**/vendor/**",
      "docs/generate/theme/**",
      ".venv/**",
      "flask_ssemux/static/ssemux*.js",
    ],
  },
  js.configs.recommended,
  { files: IN_BROWSERS, languageOptions: { globals: globals.browser } },
  // The tests' scripts hand functions to pages, so both sets of names occur in them.
  { files: ["legacy_app/static/**/*.js"], languageOptions: { globals: { Texts: "readonly" } } },
  { files: IN_NODE, languageOptions: { globals: { ...globals.node, ...globals.browser } } },
  {
    rules: {
      eqeqeq: "error",
      "no-var": "error",
      "prefer-const": "error",
      "no-unused-vars": ["error", { argsIgnorePattern: "^_", caughtErrors: "none" }],
      "no-empty": ["error", { allowEmptyCatch: true }],
    },
  },
  // The page of the example application is as old as its stream, and stays so.
  {
    files: ["legacy_app/static/jobsApi.js", "legacy_app/static/page.js", "legacy_app/static/texts.js"],
    languageOptions: { sourceType: "script", globals: { JobsApi: "readonly" } },
    rules: { "no-var": "off", "no-redeclare": "off", "no-unused-vars": "off" },
  },
];
