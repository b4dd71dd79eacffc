// Pictures of the pages, for looking at: node shoot.mjs FOLDER [light|dark] [WIDTH] [PAGE…]
import {mkdirSync} from "node:fs";
import {fill, launch, open, pages, start} from "./lib.mjs";

const [folder, scheme = "light", width = "1280", ...only] = process.argv.slice(2);
mkdirSync(folder, {recursive: true});
const server = await start();
const browser = await launch();
try {
  const ids = await fill(server);
  for (const path of pages(ids)) {
    const name = path.replace(/[0-9a-f]{8}-[0-9a-f-]{27}/, id => Object.entries(ids).find(([, known]) => known === id)[0]).replace(/^ui\/?/, "").replace(/[^a-z0-9]+/gi, "-") || "overview";
    if (only.length && !only.includes(name)) continue;
    const {context, page, wrong} = await open(browser, {colorScheme: scheme, viewport: {width: Number(width), height: 900}});
    await page.goto(server.url + path);
    await page.waitForTimeout(300);
    await page.screenshot({path: `${folder}/${name}.png`, fullPage: true});
    if (wrong.length) console.log(name, wrong);
    await context.close();
  }
} finally {
  await browser.close();
  await server.stop();
}
