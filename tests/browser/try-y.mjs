import {launch, open, start} from "./lib.mjs";
const server = await start();
const browser = await launch();
try {
  const busy = await server.task({do: "lines", count: 100_000, ms: 400});
  const {page, context} = await open(browser);
  await page.addInitScript(() => { window.EventSource = class extends EventTarget { constructor() { super(); window.fed = this; } close() {} }; });
  await page.goto(`${server.url}ui/task/${busy}`);
  if (process.argv[2]) await page.addStyleTag({content: process.argv[2]}).catch(e => console.log("style", e.message.slice(0, 80)));
  await page.waitForFunction(() => window.fed);
  await browser.startTracing(page, {categories: ["devtools.timeline", "toplevel", "v8", "disabled-by-default-v8.gc", "blink", "cc"]});
  const most = await page.evaluate(async () => {
      let all = [], last = performance.now(), sent = 0;
      await new Promise(done => requestAnimationFrame(function step(now) {
        if (sent) all.push(now - last);
        last = now;
        for (let n = 0; n < 200; n++, sent++) {
          const line = {seq: 1e6 + sent, time: "2026-11-23T07:26:49.603656725Z", attempt: 1, stream: "stdout", text: `line ${sent} of a guest that says a lot`};
          window.fed.dispatchEvent(new MessageEvent("log", {data: JSON.stringify(line)}));
        }
        if (sent < 20_000) requestAnimationFrame(step); else done();
      }));
      return [Math.max(...all), all.reduce((a, b) => a + b) / all.length, all.map(Math.round).sort((a,b)=>b-a).slice(0,10)];
  });
  const trace = JSON.parse((await browser.stopTracing()).toString());
  const sums = {}, runs = [];
  const main = trace.traceEvents.find(e => e.name === "thread_name" && e.args.name === "CrRendererMain" && trace.traceEvents.some(o => o.name === "FunctionCall" && o.tid === e.tid && o.pid === e.pid));
  for (const e of trace.traceEvents) if (e.ph === "X" && e.pid === main.pid && e.tid === main.tid && e.tdur !== undefined) {
    const s = sums[e.name] ??= [0, 0, 0]; s[0] += e.tdur / 1000; s[1]++; s[2] = Math.max(s[2], e.tdur / 1000);
  }
  console.log(most);
  console.log(Object.entries(sums).sort((a, b) => b[1][0] - a[1][0]).slice(0, 28).map(([n, [t, c, m]]) => `${n}: ${t.toFixed(0)} ms in ${c}, most ${m.toFixed(1)}`).join("\n"));
} finally { await browser.close(); await server.stop(); }
