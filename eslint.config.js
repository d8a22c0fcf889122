import js from "@eslint/js";
import globals from "globals";

export default [
  js.configs.recommended,
  {
    languageOptions: { ecmaVersion: 2023, sourceType: "module" },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      curly: "error",
      eqeqeq: "error",
      "no-implicit-globals": "error",
      "no-shadow": "error",
      "no-unused-vars": ["error", { args: "after-used" }],
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-const": "error",
      "no-restricted-properties": [
        "error",
        { property: "innerHTML", message: "Use textContent and <template>." },
        { property: "outerHTML", message: "Use textContent and <template>." },
        { property: "insertAdjacentHTML", message: "Use textContent and <template>." },
      ],
    },
  },
  { files: ["app/static/js/**/*.js"], languageOptions: { globals: globals.browser } },
  { files: ["app/static/js/theme.js"], languageOptions: { sourceType: "script" } },
  { files: ["tests/app/js/**/*.js"], languageOptions: { globals: globals.node } },
];
