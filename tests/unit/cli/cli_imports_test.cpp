#include <gtest/gtest.h>

#include <string>

#include "imports.h"

namespace sequential::cli {
namespace {

TEST(Imports, EveryWayToImportIsSeen) {
  for (const char* code : {
           "import fs from 'x';",
           "import * as x from \"x\";",
           "import {a} from 'x'",
           "import{a}from'x'",
           "import'x'",
           "import \"./side-effect.js\";",
           "import type, { a } from 'x'",
           "/* c */ import /* c */ x /* c */ from 'x'",
           "const x = await import('x');",
           "export * from 'x';",
           "export { a, b as c } from './x.js';",
           "export {\n  a,\n}\nfrom 'x'",
           "const x = require('x');",
           "const x = require ( \"x\" ).y;",
           "const x = require(`x`);",
           "#!/usr/bin/env node\nimport x from 'x'",
           "const a = `${require('x')}`;",
           "const a = `${`${1}`}`; import x from 'x'",
           "const a = b / c; const d = require('x') / e;",
           "a = /[/\"]/; const x = require('x');",
           "return /'/.test(a) && require('x');",
           "const o = {}; const x = {} / require('x')",
           "if (a) { b } import x from 'x'",
       }) {
    EXPECT_TRUE(imports_anything(code)) << code;
  }
}

TEST(Imports, CodeThatIsCompleteIsTakenForComplete) {
  for (const char* code : {
           "",
           "module.exports = async (input) => input;",
           "export default async function (input) { return input; }",
           "export const a = 1; const b = 2; export { b };",
           "// import x from 'x'\n/* require('x') */",
           "const a = \"import x from 'x'\", b = 'require(\"x\")';",
           "const a = `import x from 'x'; ${1} require('x')`;",
           "const a = `\\`import('x')`;",
           "const a = /import('x')/; const b = /[/]require('x')/g;",
           "loader.import('x'); loader.require('x'); a?.require('x')",
           "const url = import.meta.url;",
           "const o = { import: 1, export: 2, require: 3 };",
           "const important = 1, requires = 2; imported('x'); $import('x');",
           "const x = require(name);",
           "typeof require === 'function';",
           "from 'x'; export default from;",
           "'unclosed import x from\n",
       }) {
    EXPECT_FALSE(imports_anything(code)) << code;
  }
}

TEST(Imports, CodeThatBringsARequireOfItsOwnHasBeenBundled) {
  EXPECT_FALSE(imports_anything("function require(x) { return m[x]; } const a = require('a');"));
  EXPECT_FALSE(imports_anything("var require = table; module.exports = require('a');"));
  EXPECT_FALSE(imports_anything("m = {1: function(require,module,exports){ require('./b'); }}"));
  EXPECT_FALSE(imports_anything("m = { a(module, require) { return require('./b'); } }"));
}

TEST(Imports, WhatIsNotJavaScriptEndsInLinearTime) {
  for (const char* piece :
       {"`${", "/", "'", "\"\\", "`", "{", "export {", "import", "/*", "\\", "é"}) {
    std::string code;
    while (code.size() < 1'000'000) code += piece;
    imports_anything(code);
  }
}

}  // namespace
}  // namespace sequential::cli
