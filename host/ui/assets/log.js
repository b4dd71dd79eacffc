// Follows the log of a task: a stream, or polls if this browser has enough streams. Text only, in blocks of a hundred lines.

const STREAMS = 4; // A browser has six connections to a server; a seventh stream would block every page.
const LINES = 5000;
const BLOCK = 100;

const log = document.getElementById("log");
const end = document.getElementById("log-end");
const empty = document.getElementById("log-empty");
const wrap = document.getElementById("log-wrap");
const read = document.getElementById("log-read");

let last = Number(log.dataset.last), done = "done" in log.dataset, paused = false;
let source, release, timer, waiting = [], frame = 0, unseen = 0, following = true, lastTop = 0;

const blocks = () => log.children;
function hidden(text) {
  return text
    .replace(/[\u0000-\u001f]/g, char => String.fromCharCode(0x2400 + char.charCodeAt(0)))
    .replace(/\u007f/g, "\u2421")
    .replace(/[\u0080-\u009f]/g, "\ufffd")
    .replace(/[\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff]/g, char => `\u27e8U+${char.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}\u27e9`);
}
function write(line) {
  const stream = line.stream === "stderr" ? "err" : "out";
  return `${hidden(line.time.slice(11, 23))} ${line.attempt} ${stream}  ${hidden(line.text)}${line.cut ? " \u2026" : ""}\n`;
}

function atEnd() { return log.scrollHeight - log.scrollTop - log.clientHeight < 24; }

function draw() {
  frame = 0;
  const lines = waiting;
  waiting = [];
  if (!lines.length) return;
  if (empty) empty.hidden = true;
  while (lines.length) {
    let block = log.lastElementChild;
    if (!block || !block.classList.contains("block") || Number(block.dataset.lines ?? BLOCK) >= BLOCK) {
      block = document.createElement("div");
      block.className = "block";
      block.dataset.lines = 0;
      block.append("");
      log.append(block);
    }
    const room = BLOCK - Number(block.dataset.lines);
    const some = lines.splice(0, room);
    block.firstChild.data += some.join("");
    block.dataset.lines = Number(block.dataset.lines) + some.length;
    unseen += some.length;
  }
  while (blocks().length > LINES / BLOCK) log.firstElementChild.remove();
  if (following) toEnd();
  else {
    end.textContent = `${unseen} new lines \u2193`;
    end.hidden = false;
  }
}
// Blocks that were never on the screen have guessed heights, so the end is where it was only a frame later.
function toEnd() {
  following = true;
  unseen = 0;
  end.hidden = true;
  log.scrollTop = log.scrollHeight;
  requestAnimationFrame(() => { if (following) log.scrollTop = log.scrollHeight; });
}
function add(text) {
  waiting.push(text);
  if (waiting.length > 2 * LINES) waiting.splice(0, waiting.length - LINES);
  frame ||= requestAnimationFrame(draw);
}
function gap(missed) { add(`\u2014 ${missed} lines were dropped \u2014\n`); }
function line(line) {
  if (line.seq <= last) return;
  last = line.seq;
  add(write(line));
}

function stop() {
  source?.close();
  source = undefined;
  release?.();
  release = undefined;
  clearTimeout(timer);
}

// Takes one of four places among all tabs of this browser; without one, polls.
async function start() {
  stop();
  if (done || paused || document.hidden) return;
  if (navigator.locks) {
    for (let place = 0; place < STREAMS; place++) {
      const got = await new Promise(resolve => {
        navigator.locks.request(`wasmill-stream-${place}`, {ifAvailable: true}, lock => {
          if (!lock) return resolve(false);
          return new Promise(free => { release = free; resolve(true); });
        });
      });
      if (!got) continue;
      if (done || paused || document.hidden) return stop();
      return stream();
    }
  }
  poll();
}
function stream() {
  source = new EventSource(`${log.dataset.logs}?after=${last}`);
  source.addEventListener("log", event => line(JSON.parse(event.data)));
  source.addEventListener("gap", event => gap(JSON.parse(event.data).missed));
  source.addEventListener("end", () => { done = true; stop(); });
}
async function poll() {
  try {
    const answer = await fetch(`${log.dataset.logs}?after=${last}&limit=1000`, {headers: {accept: "application/json"}});
    if (answer.ok) for (const next of await answer.json()) {
      if (next.seq > last + 1 && last) gap(next.seq - last - 1);
      line(next);
    }
    else if (answer.status === 404) { done = true; return; }
  } catch { /* the state line says so */ }
  if (!paused && !document.hidden) timer = setTimeout(poll, 1000);
}

wrap.checked = localStorage.getItem("wrap") !== "off";
const wrapped = () => { log.classList.toggle("wrap", wrap.checked); localStorage.setItem("wrap", wrap.checked ? "on" : "off"); };
wrap.addEventListener("change", wrapped);
wrapped();
read.addEventListener("click", () => {
  const aloud = log.getAttribute("aria-live") === "off";
  log.setAttribute("aria-live", aloud ? "polite" : "off");
  read.setAttribute("aria-pressed", aloud);
});
end.addEventListener("click", toEnd);
log.addEventListener("scroll", () => {
  if (atEnd()) { following = true; unseen = 0; end.hidden = true; }
  else if (log.scrollTop < lastTop - 2) following = false;
  lastTop = log.scrollTop;
}, {passive: true});
document.addEventListener("pause", event => { paused = event.detail; start(); });
document.addEventListener("visibilitychange", start);
addEventListener("pagehide", stop);
addEventListener("pageshow", event => { if (event.persisted) start(); });
toEnd();
start();
