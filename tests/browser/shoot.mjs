// Pictures of the pages. For the book: node shoot.mjs FOLDER. For looking at: node shoot.mjs FOLDER all [light|dark] [WIDTH].
import {mkdirSync, rmSync} from "node:fs";
import {fill, launch, open, pages, start} from "./lib.mjs";

const [folder, which = "book", colorScheme = "light", width = "1080"] = process.argv.slice(2);
mkdirSync(folder, {recursive: true});
const server = await start("--ui-name", "production", "--ui-colour", "red");
const browser = await launch();
try {
  const ids = await fill(server);
  // What needs a person would hide the charts.
  if (which === "book") rmSync(`${server.plugins}/broken.wasm`);
  // Charts need some seconds of work.
  for (let second = 0; second < (which === "book" ? 25 : 4); second++) {
    for (let task = 0; task < 6 + 5 * Math.sin(second / 3); task++) await server.send("POST", "task", {plugin: "noop", tags: ["batch"]});
    if (second % 6 === 3) await server.task({do: "fail", kind: "io", message: "503 from api.example.com", permanent: true}, {tags: ["tenant:42"]});
    await new Promise(done => setTimeout(done, 1_000));
  }
  const book = {overview: "ui/", "tasks-failed": "ui/tasks?state=failed", "task-running": `ui/task/${ids.running}`};
  const name = path => path.replace(/[0-9a-f]{8}-[0-9a-f-]{27}/, id => Object.entries(ids).find(([, known]) => known === id)[0]).replace(/^ui\/?/, "").replace(/[^a-z0-9]+/gi, "-") || "overview";
  const shots = which === "book" ? Object.entries(book) : pages(ids).map(path => [name(path), path]);
  for (const [name, path] of shots) {
    const {context, page, wrong} = await open(browser, {colorScheme, viewport: {width: Number(width), height: which === "book" ? 460 : 900}});
    await page.goto(server.url + path);
    await page.waitForTimeout(1_200);
    await page.screenshot({path: `${folder}/${name}.png`, fullPage: which === "all"});
    if (wrong.length) console.log(name, wrong);
    await context.close();
  }
} finally {
  await browser.close();
  await server.stop();
}
