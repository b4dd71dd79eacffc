// What the tests share: a server with data of strangers in it, a browser that counts what a page does wrong.

import assert from "node:assert/strict";
import {execFileSync, spawn} from "node:child_process";
import {appendFileSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync} from "node:fs";
import {createRequire} from "node:module";
import {tmpdir} from "node:os";
import {join, resolve} from "node:path";
import {chromium} from "playwright-core";

const repository = resolve(import.meta.dirname, "../..");
const target = process.env.CARGO_TARGET_DIR ?? join(repository, "target");
export const binary = process.env.UI_BINARY ?? join(target, "release/wasmill");
const guests = process.env.UI_GUESTS ?? join(target, "release/guests/wasm32-wasip2/release");

export const HOSTILE = "\"'><img src=x onerror=\"document.title='hit'\"><script>document.title='hit'</script>\u202e";

/** A line in every colour of a terminal, with other effects of one. */
export const COLOURS = `${[0, 1, 2, 3, 4, 5, 6, 7].map(n => `\x1b[3${n}mcolour ${n}\x1b[1m bold\x1b[0m`).join(", ")} \x1b[38;5;12mbright\x1b[48;5;1m \x1b[38;2;1;2;3mtrue\x1b[2J\x1b]0;title\x07 <b>end</b> \x1b[31`;

/** The smallest picture in PNG, and bytes that are no text, both as base64. */
export const PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
export const BYTES = Buffer.from(Array.from({length: 9_000}, (_, n) => n * 7 % 256)).toString("base64");

/** A schema with everything that a form has a field for. */
export const SCHEMA = {
  type: "object", required: ["do", "to"],
  properties: {
    text: {type: "string", title: "Text to send back", maxLength: 4_000},
    do: {const: "echo", title: "What it does"},
    day: {type: "string", format: "date"},
    at: {type: "string", format: "date-time", description: "When it was asked for"},
    mail: {type: "string", format: "email"},
    link: {type: "string", format: "uri"},
    to: {title: "Where to", oneOf: [
      {title: "A file", type: "object", required: ["kind", "path"], properties: {kind: {const: "file"}, path: {type: "string", examples: ["/out/a.txt"]}}},
      {title: "A server", type: "object", required: ["kind", "url"], properties: {kind: {const: "http"}, url: {type: "string", format: "uri"}, tries: {type: "integer", minimum: 1, default: 3}}},
    ]},
    depth: {type: "integer", minimum: 0, maximum: 5},
    mode: {enum: ["fast", "thorough"]},
    sure: {type: "boolean"},
    names: {type: "array", items: {type: "string"}},
    more: {type: "array", items: {type: "object"}},
  },
};

/** Starts a server of PostgreSQL in a folder of its own; `undefined` if it is not installed. */
export function startPostgres() {
  const versions = existsSync("/usr/lib/postgresql") ? readdirSync("/usr/lib/postgresql").sort((a, b) => a - b) : [];
  const programs = versions.length && `/usr/lib/postgresql/${versions.at(-1)}/bin`;
  if (!programs || !existsSync(`${programs}/initdb`)) return undefined;
  const folder = mkdtempSync(join(tmpdir(), "wasmill-pg-"));
  // It does not run as root.
  const shell = script => execFileSync("sh", ["-ec", `PATH=${programs}:$PATH; cd ${folder}
    run() { if [ "$(id -u)" = 0 ]; then setpriv --reuid=nobody --regid=nogroup --clear-groups "$@"; else "$@"; fi; }
    ${script}`], {stdio: "ignore"});
  shell(`[ "$(id -u)" != 0 ] || chown -R nobody ${folder}
    run initdb -D data -A trust -U wasmill --no-sync`);
  appendFileSync(join(folder, "data/postgresql.conf"), `unix_socket_directories = '${folder}'\nlisten_addresses = ''\nfsync = off\n`);
  shell("run pg_ctl -D data -w -l log start");
  return {
    url: `postgres://wasmill@${folder.replaceAll("/", "%2F")}/postgres`,
    stop() {
      shell("run pg_ctl -D data -m immediate stop");
      rmSync(folder, {recursive: true, force: true});
    },
  };
}

/** Starts a server on a free port, with the guests of the tests as plugins. */
export async function start(...more) {
  const folder = mkdtempSync(join(tmpdir(), "wasmill-ui-"));
  const plugins = join(folder, "plugins");
  mkdirSync(plugins);
  for (const name of ["misbehave", "noop", "words"]) copyFileSync(join(guests, `${name}.wasm`), join(plugins, `${name}.wasm`));
  writeFileSync(join(plugins, "broken.wasm"), "not WebAssembly");
  for (const output of ["png", "bytes"]) {
    copyFileSync(join(guests, "misbehave.wasm"), join(plugins, `${output}.wasm`));
    writeFileSync(join(plugins, `${output}.toml`), `output = "${output}"\n`);
  }
  copyFileSync(join(guests, "misbehave.wasm"), join(plugins, "form.wasm"));
  writeFileSync(join(plugins, "form.toml"), '[input]\nschema = "form.json"\n');
  writeFileSync(join(plugins, "form.json"), JSON.stringify(SCHEMA));
  writeFileSync(join(plugins, "misbehave.toml"), 'description = "Does what its input says, most of it badly."\n[limits]\nconcurrency = 50\n');
  let child;
  const server = {
    folder, plugins, port: 0,
    async up() {
      child = spawn(binary, ["serve", "--listen", `127.0.0.1:${server.port}`, "--data", join(folder, "data"), "--plugins", plugins, "--allow-upload", ...more],
        {env: {...process.env, NO_COLOR: "1"}, stdio: ["ignore", "pipe", "pipe"]});
      let said = "";
      const address = await new Promise((found, failed) => {
        const listen = chunk => {
          said += chunk;
          const match = /http:\/\/127\.0\.0\.1:(\d+)/.exec(said);
          if (match) found(match);
        };
        child.stdout.on("data", listen);
        child.stderr.on("data", listen);
        child.once("exit", code => failed(new Error(`the server ended with ${code}: ${said}`)));
      });
      server.port = Number(address[1]);
      server.url = `http://127.0.0.1:${server.port}/`;
      for (;;) {
        const answer = await fetch(`${server.url}readyz`).catch(() => null);
        const plugins = answer?.ok && await (await fetch(`${server.url}plugins`)).json();
        if (plugins && plugins.every(plugin => plugin.state !== "compiling")) return server;
        await new Promise(done => setTimeout(done, 50));
      }
    },
    async kill() {
      const ended = new Promise(done => child.once("exit", done));
      child.kill("SIGKILL");
      await ended;
    },
    async stop() {
      await server.kill();
      rmSync(folder, {recursive: true, force: true});
    },
    /** Sends a request of the REST interface. */
    async send(method, path, body) {
      const answer = await fetch(new URL(path, server.url), {method, headers: body ? {"content-type": "application/json"} : {}, body: body && JSON.stringify(body)});
      const text = await answer.text();
      if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
      return text ? JSON.parse(text) : null;
    },
    task: (deed, more = {}) => server.send("POST", "task", {plugin: "misbehave", input: deed, ...more}).then(task => task.id),
    /** Waits until a task is in this state. */
    async until(id, state, also = () => true) {
      for (;;) {
        const task = await server.send("GET", `task/${id}`);
        if (task.state === state && also(task)) return task;
        await new Promise(done => setTimeout(done, 30));
      }
    },
  };
  return server.up();
}

/** Fills a server with tasks of every kind; returns the ids that pages are opened with. */
export async function fill(server) {
  const ids = {};
  ids.completed = await server.task({do: "echo", text: JSON.stringify({title: "done", price: 1.5, items: [1, 2, {deep: [true, null]}]})}, {tags: ["tenant:42", "nightly"]});
  ids.failed = await server.task({do: "fail", kind: "io", message: "503 from api.example.com"}, {tags: ["tenant:42"], max_attempts: 2, backoff: {first: "20ms"}, unique_key: "report-7"});
  ids.hostile = await server.task({do: "fail", kind: "io", message: HOSTILE}, {tags: ["<b>tag</b>"], group: "<i>group</i>"});
  ids.html = await server.task({do: "echo", text: `<!doctype html><h1>Report</h1><script>document.title='hit';fetch('http://127.0.0.1:${server.port}/drain',{method:'POST'})</script><form method=post action='http://127.0.0.1:${server.port}/drain'><button id=go>go</button></form><img src='http://127.0.0.1:${server.port}/leak'>`});
  ids.svg = await server.task({do: "echo", text: "<svg xmlns='http://www.w3.org/2000/svg' width='120' height='60'><rect width='120' height='60' fill='teal'/><script>document.title='hit'</script></svg>"});
  for (const [plugin, text] of [["png", PNG], ["bytes", BYTES]]) {
    ids[plugin] = await server.send("POST", "task", {plugin, input: {do: "echo", text}}).then(task => task.id);
  }
  ids.log = await server.task({do: "lines", count: 300, ms: 0});
  ids.colours = await server.task({do: "log", out: COLOURS, err: "plain"});
  ids.huge = await server.task({do: "result", bytes: 900_000});
  for (let n = 0; n < 12; n++) await server.send("POST", "task", {plugin: "words", input: {text: `the quick brown fox ${n}`}, tags: ["batch"]}).catch(() => server.send("POST", "task", {plugin: "noop", tags: ["batch"]}));
  ids.webhook = await server.send("POST", "task", {plugin: "noop", webhook: {url: "http://203.0.113.1/hook"}}).then(task => task.id);
  for (const name of ["completed", "hostile", "html", "svg", "png", "bytes", "log", "colours", "huge", "webhook"]) await server.until(ids[name], ["hostile"].includes(name) ? "failed" : "completed");
  await server.until(ids.failed, "failed");
  ids.running = await server.task({do: "progress", fraction: 0.31, note: "page 12 of 40", ms: 600_000}, {tags: ["tenant:42"]});
  ids.busy = await server.task({do: "lines", count: 100_000, ms: 400});
  ids.blocked = await server.send("POST", "task", {plugin: "noop", depends_on: [ids.running, ids.completed]}).then(task => task.id);
  // It has saved a checkpoint, and waits for its next attempt.
  ids.saved = await server.task({do: "count-then-fail", succeed_on: 9}, {max_attempts: 3, backoff: {first: "1h"}});
  ids.delayed = await server.send("POST", "task", {plugin: "noop", delay: "1h"}).then(task => task.id);
  await server.until(ids.running, "running");
  await server.until(ids.saved, "waiting", task => task.usage?.checkpoints > 0);
  await server.send("PUT", "schedules/nightly", {cron: "30 2 * * *", timezone: "Europe/Berlin", task: {plugin: "noop"}});
  await server.send("PUT", "schedules/often", {cron: "*/10 * * * *", task: {plugin: "noop"}});
  for (let run = 0; run < 3; run++) await server.send("POST", "schedules/often/run");
  return ids;
}

/** All pages, with data in them. */
export const pages = ids => [
  "ui/", "ui/tasks", "ui/tasks?state=failed&tag=tenant%3A42", "ui/tasks?state=nonsense", "ui/act?action=retry&select=all&state=failed",
  `ui/task/${ids.running}`, `ui/task/${ids.failed}`, `ui/task/${ids.hostile}`, `ui/task/${ids.log}`, `ui/task/${ids.colours}`, `ui/task/${ids.completed}/result`,
  `ui/task/${ids.html}/result?as=page`, `ui/task/${ids.svg}/result`, `ui/task/${ids.png}/result`, `ui/task/${ids.bytes}/result?from=4096`, `ui/task/${ids.huge}/result`, `ui/task/${ids.hostile}/input`,
  `ui/task/${ids.saved}/checkpoint`, `ui/task/${ids.blocked}/depends`, `ui/task/${ids.webhook}/webhook`, `ui/task/${ids.hostile}/record`,
  "ui/find?text=nightly", "ui/find?text=nothing+like+it", "ui/plugins", "ui/plugin?name=noop", "ui/schedules", "ui/schedule?plugin=form", "ui/schedule?name=nightly", "ui/submit?plugin=misbehave", "ui/submit?plugin=form", `ui/task/${ids.log}?stream=stdout&find=line+1`, "ui/live", "ui/doctor", "ui/keys", "ui/hosts", "ui/nothing",
];

export const launch = (...more) => chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  // A container has neither a sandbox for root nor much shared memory.
  args: ["--no-sandbox", "--disable-dev-shm-usage", ...more],
});

/** Opens a page, and collects what it does against its policy, and every request to somebody else. */
export async function open(browser, options = {}) {
  const context = await browser.newContext({viewport: {width: 1280, height: 900}, ...options});
  const page = await context.newPage();
  const wrong = [];
  page.on("console", message => { if (/Content Security|Trusted|Refused|violat/i.test(message.text())) wrong.push(message.text()); });
  page.on("pageerror", error => wrong.push(String(error)));
  page.on("request", request => { const url = new URL(request.url()); if (!["127.0.0.1", "localhost"].includes(url.hostname) && !url.protocol.startsWith("data")) wrong.push(request.url()); });
  return {context, page, wrong};
}

/** Opens a page, and afterwards holds that it has kept to its policy and asked nobody else. */
export async function visit(browser, url, act, options) {
  const {context, page, wrong} = await open(browser, options);
  try {
    await page.goto(url);
    await act(page, context);
    assert.deepEqual(wrong, []);
  } finally {
    await context.close();
  }
}

const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Runs axe by the debugger, which the policy does not bind. */
export async function violations(page) {
  const cdp = await page.context().newCDPSession(page);
  await cdp.send("Runtime.evaluate", {expression: axeSource});
  const rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
  const {result, exceptionDetails} = await cdp.send("Runtime.evaluate", {awaitPromise: true, returnByValue: true, expression:
    `axe.run({runOnly: ${JSON.stringify(rules)}}).then(found => found.violations.map(rule => rule.id + ": " + rule.nodes.slice(0, 3).map(node => node.html.slice(0, 160) + " " + (node.any[0]?.message ?? "")).join(" | ")))`});
  await cdp.detach();
  if (exceptionDetails) throw new Error(JSON.stringify(exceptionDetails));
  return result.value;
}
