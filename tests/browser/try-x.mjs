import {launch, open, start} from "./lib.mjs";
const server = await start();
const browser = await launch();
try {
  const p = await server.send("GET", "plugins/form"); console.log(p.state, p.reason, p.kind);
  const {page, wrong} = await open(browser);
  await page.goto(server.url + "ui/submit?plugin=form");
  await page.screenshot({path: "/tmp/s-form.png", fullPage: true});
} finally { await browser.close(); await server.stop(); }
