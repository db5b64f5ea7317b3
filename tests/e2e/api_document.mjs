// GET /openapi.json as tests need it: which operation a request is, and whether what came back is what the document says.
import assert from "node:assert/strict";
import Ajv from "ajv/dist/2020.js";
import addFormats from "ajv-formats";

const METHODS = ["get", "put", "post", "delete"];
const pointer = (...parts) => `api#${parts.map((part) => `/${encodeURIComponent(part.replaceAll("~", "~0").replaceAll("/", "~1"))}`).join("")}`;

/** Answers may get new members, so the document leaves them open; a server may not have any that it does not tell of. */
function closed(schema, part = false) {
  if (Array.isArray(schema)) return schema.map((one) => closed(one, part));
  if (schema === null || typeof schema !== "object") return schema;
  const out = Object.fromEntries(Object.entries(schema).map(([name, value]) => [name, closed(value, name === "allOf")]));
  const open = part || "additionalProperties" in schema || !(schema.allOf || typeof schema.properties === "object");
  return open ? out : { ...out, unevaluatedProperties: false };
}

export class ApiDocument {
  operations = [];
  seen = new Set();

  constructor(document) {
    this.document = document;
    const parts = JSON.stringify(document).matchAll(/"allOf":\[\{"\$ref":"#\/components\/schemas\/(\w+)"/g);
    const shared = new Set(Array.from(parts, (match) => match[1]));
    const strict = closed(document.paths);
    const schemas = Object.entries(document.components.schemas).map(([name, schema]) => [name, closed(schema, shared.has(name))]);
    const components = { ...document.components, schemas: Object.fromEntries(schemas) };
    this.ajv = addFormats.default(new Ajv.default({ strict: false, allErrors: true }));
    this.ajv.addSchema({ $id: "api", paths: strict, components });
    for (const [path, item] of Object.entries(document.paths)) {
      for (const method of METHODS.filter((name) => item[name])) {
        const pattern = new RegExp(`^${path.replace(/\{\w+\}/g, "[^/]+").replace(".", "\\.")}$`);
        this.operations.push({ path, method, pattern, fixed: !path.includes("{"), ...item[method] });
      }
    }
    this.operations.sort((a, b) => b.fixed - a.fixed);
  }

  find(method, path) {
    const [plain] = path.split("?");
    const found = this.operations.find((one) => one.method === method.toLowerCase() && one.pattern.test(plain));
    return found ?? assert.fail(`${method} ${plain} is not in the document`);
  }

  check(value, what, ...at) {
    const validate = this.ajv.getSchema(pointer(...at)) ?? assert.fail(`no schema at ${at.join(" / ")}`);
    assert.ok(validate(value), `${what}: ${this.ajv.errorsText(validate.errors)}\n${JSON.stringify(value).slice(0, 2000)}`);
  }
  checkAs(name, value) {
    this.check(value, name, "components", "schemas", name);
  }

  /** Fails if this answer to that request is not described. */
  checkAnswer(method, path, answer, json) {
    const operation = this.find(method, path);
    const at = ["paths", operation.path, operation.method];
    const what = `${method} ${path} → ${answer.status}`;
    const code = operation.responses[answer.status] ? String(answer.status) : "default";
    assert.ok(code !== "default" || answer.status >= 400, `${what} is not in the document`);
    const named = operation.responses[code].$ref?.split("/").slice(1);
    if (answer.status < 400) this.seen.add(operation.operationId);
    const { content } = named ? this.document.components.responses[named[2]] : operation.responses[code];
    const type = answer.headers["content-type"]?.split(";")[0];
    if (content === undefined) return assert.equal(answer.text, "", what);
    assert.ok(content[type], `${what} has the type ${type}`);
    if (type.endsWith("json")) this.check(answer.json(), what, ...(named ?? [...at, "responses", code]), "content", type, "schema");
    if (answer.status >= 400) return undefined;
    if (json !== undefined && operation.requestBody.content["application/json"]) {
      this.check(json, `the body of ${what}`, ...at, "requestBody", "content", "application/json", "schema");
    }
    return undefined;
  }
}
