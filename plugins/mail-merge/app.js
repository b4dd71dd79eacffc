// Renders a template once for each row of data, as for a mailing. The syntax is the core of Mustache:
// {{name}} is replaced and escaped for HTML, {{{name}}} is not escaped, {{#name}}…{{/name}} repeats for
// each item of a list or shows if there is something, {{^name}}…{{/name}} shows if there is nothing.

import { progress } from "wasmill:task/host@0.2.0";

const TAG = /\{\{\{\s*([\w.]+)\s*\}\}\}|\{\{\s*([#^/]?)\s*([\w.]+)\s*\}\}/g;
const ESCAPES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

export const job = {
  run(input) {
    const { template, rows, escape = true } = read(input);
    const parts = parse(template);
    const texts = rows.map((row, done) => {
      progress(done / rows.length, `${done + 1} of ${rows.length}`);
      return render(parts, [row], escape);
    });
    progress(1, "done");
    return JSON.stringify(texts);
  },
};

function invalid(message) {
  return { kind: "invalid-input", message };
}

function read(input) {
  const asked = JSON.parse(input);
  const isRight = typeof asked?.template === "string" && Array.isArray(asked.rows) && asked.rows.length > 0;
  if (!isRight) {
    throw invalid('the input must be like {"template": "Dear {{name}}, …", "rows": [{"name": "Ada"}]}');
  }
  return asked;
}

// Parses a template into a tree of texts, values and sections.
function parse(template) {
  const root = { parts: [] };
  const open = [root];
  let end = 0;
  for (const match of template.matchAll(TAG)) {
    const [whole, raw, mark, name] = match;
    const inner = open[open.length - 1];
    inner.parts.push({ text: template.slice(end, match.index) });
    end = match.index + whole.length;
    if (mark === "#" || mark === "^") {
      const section = { section: name, inverted: mark === "^", parts: [] };
      inner.parts.push(section);
      open.push(section);
    } else if (mark === "/") {
      if (inner.section !== name) {
        throw invalid(`{{/${name}}} closes ${inner.section ? `{{#${inner.section}}}` : "nothing"}`);
      }
      open.pop();
    } else {
      inner.parts.push({ name: raw ?? name, raw: raw !== undefined });
    }
  }
  const inner = open[open.length - 1];
  if (inner !== root) {
    throw invalid(`{{#${inner.section}}} is not closed`);
  }
  root.parts.push({ text: template.slice(end) });
  return root.parts;
}

// `scopes` are the objects in which names are looked up, the innermost last.
function render(parts, scopes, escape) {
  const show = (part) => {
    if (part.text !== undefined) return part.text;
    const value = lookUp(part.name ?? part.section, scopes);
    if (part.name !== undefined) return part.raw || !escape ? plain(value) : escaped(plain(value));
    const isThere = Array.isArray(value) ? value.length > 0 : Boolean(value);
    if (part.inverted) return isThere ? "" : render(part.parts, scopes, escape);
    if (!isThere) return "";
    const items = Array.isArray(value) ? value : [value];
    return items.map((item) => render(part.parts, [...scopes, item], escape)).join("");
  };
  return parts.map(show).join("");
}

function lookUp(name, scopes) {
  if (name === ".") return scopes[scopes.length - 1];
  const [first, ...rest] = name.split(".");
  const has = (value, key) => value !== null && typeof value === "object" && Object.hasOwn(value, key);
  const scope = [...scopes].reverse().find((scope) => has(scope, first));
  return [first, ...rest].reduce((value, key) => (has(value, key) ? value[key] : undefined), scope);
}

function plain(value) {
  if (value === undefined || value === null) return "";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function escaped(text) {
  return text.replace(/[&<>"']/g, (character) => ESCAPES[character]);
}
