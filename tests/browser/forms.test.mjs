// Forms made from schemas, and the lines of a log that one chooses, with and without script.

import assert from "node:assert/strict";
import {after, before, test} from "node:test";
import {COLOURS, HOSTILE, launch, start, violations, visit} from "./lib.mjs";

let server, browser;
before(async () => { [server, browser] = [await start(), await launch()]; });
after(async () => {
  await browser?.close();
  await server?.stop();
});
const on = (path, act, options) => visit(browser, server.url + path, act, options);
const sent = (page, act) => Promise.all([page.waitForNavigation(), act()]);
const input = async page => JSON.parse(await (await fetch(`${server.url}task/${page.url().match(/task\/([0-9a-f-]{36})/)[1]}/input`)).text());

for (const javaScriptEnabled of [true, false]) {
  const how = javaScriptEnabled ? "with script" : "without script";

  test(`a form of a schema sends what was entered, ${how}`, () => on("ui/submit?plugin=form", async page => {
    await page.fill("[name='/text']", "two\nlines");
    await page.fill("[name='/day']", "2026-02-28");
    await page.fill("[name='/at']", "2026-11-30T10:00:07");
    await page.fill("[name='/mail']", "ada@example.com");
    await page.fill("[name='/link']", "https://example.com/a");
    await page.fill("[name='/to|0/path']", "/not/chosen");
    await page.check("text=A server");
    assert.ok(!(await page.isVisible("[name='/to|0/path']")), "what is not chosen is hidden");
    await page.fill("[name='/to|1/url']", "https://example.com/hook");
    await page.fill("[name='/depth']", "1");
    await page.selectOption("[name='/mode']", {label: "fast"});
    await page.fill("[name='/names']", " a \n\nb");
    await page.fill("[name='json:/more']", '[{"n": 1.10}]');
    if (javaScriptEnabled) assert.deepEqual(await violations(page), []);
    // To JSON and back, nothing is lost.
    await sent(page, () => page.click("text=As JSON"));
    assert.match(await page.inputValue("textarea[name=input]"), /"tries":3.*1\.10/);
    await sent(page, () => page.click("text=As a form"));
    assert.equal(await page.inputValue("[name='/to|0/path']"), "/not/chosen");
    assert.equal(await page.inputValue("[name='/at']"), "2026-11-30T10:00:07");
    await sent(page, () => page.click("main form.card button.primary"));
    assert.deepEqual(await input(page), {
      text: "two\nlines", do: "echo", day: "2026-02-28", at: "2026-11-30T10:00:07Z", mail: "ada@example.com", link: "https://example.com/a",
      to: {kind: "http", url: "https://example.com/hook", tries: 3}, depth: 1, mode: "fast", names: ["a", "b"], more: [{n: 1.1}],
    });
  }, {javaScriptEnabled}));

  test(`what is refused stays as it was entered, ${how}`, () => on("ui/submit?plugin=form", async page => {
    await page.fill("[name='/text']", HOSTILE);
    await page.fill("[name='/depth']", "nine");
    await page.fill("[name='/to|0/path']", HOSTILE);
    await page.fill("[name='json:/more']", "{oops");
    await sent(page, () => page.click("main form.card button.primary"));
    assert.match(await page.textContent("[role=alert]"), /422[^]*not valid JSON/);
    assert.equal(await page.inputValue("[name='json:/more']"), "{oops");
    await page.fill("[name='json:/more']", "");
    await sent(page, () => page.click("main form.card button.primary"));
    assert.match(await page.textContent(".error"), /"nine" is not of type "integer"/);
    for (const [name, value] of [["/text", HOSTILE], ["/depth", "nine"], ["/to|0/path", HOSTILE]]) assert.equal(await page.inputValue(`[name='${name}']`), value);
    await page.fill("[name='/depth']", "2");
    await sent(page, () => page.click("main form.card button.primary"));
    assert.equal((await input(page)).to.path, HOSTILE);
    assert.notEqual(await page.title(), "hit");
  }, {javaScriptEnabled}));

  test(`a schedule is made and edited by a form of the schema of its plugin, ${how}`, () => on("ui/schedule", async page => {
    const name = javaScriptEnabled ? "scripted" : "plain";
    await page.fill("#new input[name=name]", name);
    await page.fill("#new input[name=cron]", "15 3 * * 1-5");
    await page.selectOption("#new select[name=plugin]", "form");
    // Sent without a choice, the form of the chosen plugin comes first.
    await sent(page, () => page.click("#new button.primary"));
    assert.equal(await page.inputValue("#new input[name=cron]"), "15 3 * * 1-5");
    await page.fill("[name='/to|0/path']", "/out/x");
    await page.fill("[name='/text']", "nightly");
    await page.click("#new summary >> text=Options");
    await page.fill("[name=option-timeout]", "soon");
    await page.fill("[name=option-more]", '{"backoff": {"first": "2s"}}');
    await sent(page, () => page.click("#new button.primary"));
    assert.match(await page.textContent("#new .error"), /timeout must be a duration/);
    await page.fill("[name=option-timeout]", "90s");
    // Enter in a field stores; it presses no other button.
    await sent(page, () => page.press("[name=option-timeout]", "Enter"));
    assert.match(await page.textContent(`#s-${name}`), /at 03:15 Monday to Friday/);
    const stored = await server.send("GET", `schedules/${name}`);
    assert.deepEqual(stored.task, {plugin: "form", timeout: "90s", input: {text: "nightly", do: "echo", to: {kind: "file", path: "/out/x"}}, backoff: {first: "2s"}});
    await sent(page, () => page.click(`#s-${name} >> text=Edit`));
    assert.equal(await page.inputValue("[name='/text']"), "nightly");
    await page.fill("#new input[name=cron]", "16 3 * * 1-5");
    await sent(page, () => page.click("#new button.primary"));
    const edited = await server.send("GET", `schedules/${name}`);
    assert.deepEqual([edited.cron, edited.task], ["16 3 * * 1-5", stored.task], "only the time has changed");
  }, {javaScriptEnabled}));
}

test("the log shows the lines that one chooses, while they come", async () => {
  const id = await server.task({do: "lines", count: 4_000, ms: 5});
  await on(`ui/task/${id}`, async page => {
    await page.waitForFunction(() => document.querySelector("#log").textContent.includes("line 30"));
    await page.fill("#log-filter input", "LINE 1");
    await page.waitForFunction(() => /of/.test(document.querySelector("#log-count").textContent));
    assert.equal(new URL(page.url()).searchParams.get("find"), "LINE 1");
    // Lines that come later are chosen as well.
    await page.waitForFunction(() => document.querySelector("#log").textContent.includes("line 150"), null, {timeout: 20_000});
    const texts = (await page.textContent("#log")).trim().split("\n").filter(text => !text.includes("were dropped"));
    assert.ok(texts.length > 50 && texts.every(text => text.includes("line 1")), texts.find(text => !text.includes("line 1")));
    assert.ok(await page.locator("#log mark").count() > 50);
    // Both change while lines come, and the oldest go.
    await page.waitForFunction(() => {
      const [, found] = /([\d,]+) of/.exec(document.querySelector("#log-count").textContent);
      const shown = document.querySelector("#log").textContent.trim().split("\n");
      return Math.abs(Number(found.replace(",", "")) - shown.length) <= 1;
    });
    await page.selectOption("#log-filter select[name=stream]", "stderr");
    await page.locator("#log-empty:not([hidden])").waitFor();
    assert.deepEqual(await violations(page), []);
    await page.click("#log-clear");
    await page.waitForFunction(() => /line [2-9]/.test(document.querySelector("#log").textContent));
    assert.equal(new URL(page.url()).search, "");
    assert.equal(await page.textContent("#log-count"), "");
  });
  await server.send("POST", `task/${id}/cancel`);
});

test("what the log shows is the same with and without script", async () => {
  const id = await server.task({do: "log", out: `${COLOURS}\nÄpfel and x\nplain`, err: `äPFEL ${HOSTILE}\nx`});
  await server.until(id, "completed");
  const shown = [];
  for (const [find, stream] of [["äpfel", ""], ["BOLD", "stdout"], ["x", "stderr"], ["onerror", ""], ["[31m", ""]]) {
    const query = new URLSearchParams({find, stream});
    await on(`ui/task/${id}?${query}`, async page => shown.push([await page.innerHTML("#log"), await page.textContent("#log-count")]), {javaScriptEnabled: false});
    await on(`ui/task/${id}`, async page => {
      await page.selectOption("#log-filter select[name=stream]", stream);
      await page.fill("#log-filter input", find);
      await page.waitForFunction(() => /of 5 lines/.test(document.querySelector("#log-count").textContent));
      await page.waitForFunction(find => new URL(location).searchParams.get("find") === find, find);
      await page.waitForTimeout(400);
      const names = html => html.replace(/⟨U\+202E⟩/g, "⟨RLO⟩").replace(/ data-lines="\d+"/g, "");
      assert.deepEqual([names(await page.innerHTML("#log")), await page.textContent("#log-count")], [names(shown.at(-1)[0]), shown.at(-1)[1]], find);
    });
  }
  assert.ok(shown[0][0].includes("<mark>Äpfel</mark>") && shown[0][1].startsWith("2 of"), shown[0]);
  assert.equal(shown.at(-1)[0].trim(), "", "an escape is not text");
});
