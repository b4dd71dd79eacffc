// What one does on a page: pausing it, following a list, selecting by keys, delivering again; and several hosts.

import assert from "node:assert/strict";
import {createServer} from "node:http";
import {after, before, test} from "node:test";
import {launch, start, startPostgres, visit} from "./lib.mjs";

let server, browser;
before(async () => {
  const own = ["--webhook-allow", "127.0.0.0/8", "--webhook-backoff", "5ms", "--webhook-attempts", "2"];
  [server, browser] = [await start("--trace-url", "https://jaeger.example/trace/{trace_id}?x=1", ...own), await launch()];
});
after(async () => {
  await browser?.close();
  await server?.stop();
});
const on = (path, act, options) => visit(browser, server.url + path, act, options);
const settle = (page, ms = 400) => page.waitForTimeout(ms);

test("a page that is paused asks nothing and changes nothing until it is resumed", () => on("ui/tasks?plugin=noop", async page => {
  await server.send("POST", "task", {plugin: "noop"});
  await page.locator("#newer a").waitFor();
  await page.click("#pause");
  assert.equal(await page.textContent("#pause"), "Resume");
  assert.match(await page.textContent("#live-state"), /paused/);
  let asked = 0;
  page.on("request", () => { asked += 1; });
  const newer = await page.textContent("#newer");
  await server.send("POST", "task", {plugin: "noop"});
  await settle(page, 2_500);
  assert.deepEqual([asked, await page.textContent("#newer")], [0, newer]);
  // The key does what the button does.
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press("Space");
  await page.waitForFunction(newer => document.querySelector("#newer").textContent !== newer, newer);
  await page.keyboard.press("Space");
  assert.match(await page.textContent("#live-state"), /paused/);
}));

test("a list that is followed shows new tasks by itself, but not under a selection", () => on("ui/tasks?plugin=noop", async page => {
  const first = () => page.getAttribute("#rows tr:first-child", "id");
  const before = await first();
  await page.keyboard.press("f");
  assert.equal(await page.getAttribute("#follow", "aria-pressed"), "true");
  const {id} = await server.send("POST", "task", {plugin: "noop"});
  await page.waitForFunction(before => document.querySelector("#rows tr").id !== before, before);
  assert.equal(await first(), `t-${id}`);
  await page.check("#rows tr:first-child input");
  await page.evaluate(() => document.activeElement.blur());
  await server.send("POST", "task", {plugin: "noop"});
  await settle(page, 2_000);
  assert.equal(await first(), `t-${id}`, "what is selected does not move");
  await page.keyboard.press("Escape");
  await page.waitForFunction(id => document.querySelector("#rows tr").id !== `t-${id}`, id);
  await page.keyboard.press("f");
  assert.equal(await page.getAttribute("#follow", "aria-pressed"), "false");
}));

test("X selects up to the row, * all, and Y copies the request", async () => {
  await server.send("POST", "task/batch", Array.from({length: 6}, () => ({plugin: "noop", tags: ["keys"]})));
  await on("ui/tasks?tag=keys", async (page, context) => {
    await context.grantPermissions(["clipboard-read", "clipboard-write"]);
    const chosen = () => page.$$eval("#rows tr", rows => rows.map((row, at) => row.querySelector("input:checked") ? at : -1).filter(at => at >= 0));
    for (const key of ["j", "j", "x", "j", "j", "X"]) await page.keyboard.press(key);
    assert.deepEqual(await chosen(), [1, 2, 3]);
    for (const key of ["k", "k", "k", "X"]) await page.keyboard.press(key);
    assert.deepEqual(await chosen(), [0, 1, 2, 3], "back from the row that was selected last");
    await page.keyboard.press("*");
    assert.equal((await chosen()).length, 6);
    assert.match(await page.textContent("#selected"), /6 selected/);
    await page.keyboard.press("Y");
    await page.waitForFunction(() => document.querySelector("#said").textContent === "Copied.");
    const line = await page.evaluate(() => navigator.clipboard.readText());
    assert.match(line, /^curl .*\/task\?tag=keys/);
    assert.ok(line.includes(`127.0.0.1:${server.port}`), "the address is that of this server");
  });
});

test("a task links to its trace, and to nothing else of what a stranger sends", async () => {
  const trace = "0af7651916cd43dd8448eb211c80319c";
  const answer = await fetch(`${server.url}task`, {method: "POST", headers: {"content-type": "application/json", traceparent: `00-${trace}-b7ad6b7169203331-01`}, body: '{"plugin": "noop"}'});
  const {id} = await answer.json();
  await on(`ui/task/${id}`, async page => {
    const link = page.locator("#facts a >> text=open");
    assert.equal(await link.getAttribute("href"), `https://jaeger.example/trace/${trace}?x=1`);
    assert.equal(await link.getAttribute("rel"), "noreferrer");
  });
});

test("a webhook that gave up is delivered again by a button", async () => {
  let broken = true;
  const arrived = [];
  const receiver = createServer((from, to) => { arrived.push(from.headers["webhook-id"]); to.writeHead(broken ? 500 : 204).end(); });
  await new Promise(done => receiver.listen(0, "127.0.0.1", done));
  try {
    const url = `http://127.0.0.1:${receiver.address().port}/hook`;
    const {id} = await server.send("POST", "task", {plugin: "noop", webhook: {url}});
    await on(`ui/task/${id}/webhook`, async page => {
      // The page sees by itself that both attempts have failed.
      await page.waitForFunction(() => /given-up[^]*2 attempts/.test(document.querySelector("#webhook").textContent), null, {timeout: 20_000});
      assert.equal(await page.locator("#webhook tbody tr").count(), 2);
      broken = false;
      await Promise.all([page.waitForNavigation(), page.click("text=Deliver again")]);
      assert.match(await page.textContent(".flash"), /delivered again/);
      await page.waitForFunction(() => /delivered/.test(document.querySelector("#webhook .state.completed")?.textContent), null, {timeout: 20_000});
      assert.match(await page.textContent("#webhook tbody tr:last-child"), /204/);
    });
    assert.ok(arrived.length === 3 && new Set(arrived).size === 1, "the receiver sees that it is the same");
  } finally {
    receiver.closeAllConnections();
    receiver.close();
  }
});

test("what needs a person stands first, and its links lead there", async () => {
  const task = {plugin: "misbehave", input: {do: "fail", kind: "io", message: "503"}, max_attempts: 1, tags: ["broken"]};
  // What a plugin does is counted from the first sample that knows it, one each ten seconds.
  const fails = () => server.send("POST", "task/batch", Array(30).fill(task));
  await fails();
  const again = setInterval(fails, 5_000);
  await on("ui/", async page => {
    await page.waitForFunction(() => /misbehave/.test(document.querySelector("#attention").textContent), null, {timeout: 60_000});
    clearInterval(again);
    const sections = await page.$$eval("main section h2, main section[aria-label]", all => all.map(one => one.textContent.slice(0, 9)));
    assert.equal(sections[0], "Needs you");
    const {stored} = await server.send("GET", "stats");
    await page.waitForFunction(failed => document.querySelector("#tiles a[href*='state=failed'] .note").textContent === `${failed} stored`, stored.failed);
    await Promise.all([page.waitForNavigation(), page.click("#attention li:has-text('misbehave') a")]);
    assert.match(page.url(), /ui\/tasks\?.*plugin=misbehave/);
    assert.ok(await page.locator("#rows .failed").count() >= 30);
    await page.goto(`${server.url}ui/`);
    await Promise.all([page.waitForNavigation(), page.click("#attention li:has-text('broken') a")]);
    assert.match(page.url(), /ui\/plugins#p-broken$/);
  }).finally(() => clearInterval(again));
});

test("a task that runs on another host shows what it does, and is cancelled from here", async t => {
  const postgres = startPostgres();
  if (!postgres) {
    assert.notEqual(process.env.WASMILL_TEST_REQUIRE, "all", "PostgreSQL is not installed");
    return t.skip("PostgreSQL is not installed");
  }
  const hosts = [];
  try {
    for (let host = 0; host < 2; host++) hosts.push(await start("--database", postgres.url, "--database-migrate", "--slots", "2"));
    const [one, two] = hosts;
    // Neither has slots for all of them.
    const ids = await Promise.all(Array.from({length: 4}, () => one.task({do: "spin"})));
    for (const id of ids) await one.until(id, "running");
    const shown = [];
    for (const id of ids) {
      const here = [];
      for (const host of hosts) {
        await visit(browser, `${host.url}ui/task/${id}`, async page => {
          // Where it computes is known to the host that runs it; the other says that it is not this one.
          await page.waitForFunction(() => document.querySelector(".functions") || /runs on another host/.test(document.querySelector("#activity").textContent), null, {timeout: 20_000});
          here.push(await page.locator(".functions").count() === 1);
        });
      }
      shown.push(here);
    }
    assert.ok(shown.every(([first, second]) => first !== second), JSON.stringify(shown));
    assert.equal(shown.filter(([first]) => first).length, 2, "each runs two");
    await visit(browser, `${two.url}ui/hosts`, async page => assert.equal(await page.locator("#hosts tbody tr").count(), 2));
    const elsewhere = ids[shown.findIndex(([first]) => first)];
    await visit(browser, `${two.url}ui/task/${elsewhere}`, async page => {
      await page.click("text=Cancel…");
      await Promise.all([page.waitForNavigation(), page.click("dialog button[type=submit]")]);
      await page.locator("#head .state.cancelled").waitFor();
      assert.ok(!(await page.textContent("#activity")).trim());
    });
  } finally {
    for (const host of hosts) await host.stop();
    postgres.stop();
  }
});
