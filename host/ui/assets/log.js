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
let stored = Number(log.dataset.stored), found = Number(log.dataset.found), saying = 0;
let source, release, timer, waiting = [], frame = 0, unseen = 0, following = true, lastTop = 0;

const blocks = () => log.children;
function hidden(text) {
  if (/^[ -~]*$/.test(text)) return text;
  return text
    .replace(/[\u0000-\u001f]/g, char => String.fromCharCode(0x2400 + char.charCodeAt(0)))
    .replace(/\u007f/g, "\u2421")
    .replace(/[\u0080-\u009f]/g, "\ufffd")
    .replace(/[\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff]/g, char => `\u27e8U+${char.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}\u27e9`);
}
// Splits a line where its style changes, into classes and texts, as part/ansi.rs does.
const PIECES = 64;
const SEQUENCE = /^(?:\x1b\[([ -?]*[@-~])|\x1b\].*?(?:\x07|\x1b\\))/s;
function pieces(text) {
  const found = [];
  let colour = 7, bold = false;
  while (text) {
    const sequence = SEQUENCE.exec(text);
    if (sequence) {
      text = text.slice(sequence[0].length);
      if (!sequence[1]?.endsWith("m") || found.length >= PIECES) continue;
      const codes = sequence[1].slice(0, -1).split(/[;:]/).map(code => code === "" ? 0 : /^\d+$/.test(code) ? Number(code) : -1);
      while (codes.length) {
        const code = codes.shift();
        if (code === 0) [colour, bold] = [7, false];
        else if (code === 1 || code === 22) bold = code === 1;
        else if (code === 39) colour = 7;
        else if (code >= 30 && code <= 37) colour = code - 30;
        else if (code >= 90 && code <= 97) colour = code - 90;
        else if (code === 38 || code === 48) {
          const kind = codes.shift();
          const number = kind === 5 ? codes.shift() : undefined;
          if (kind === 2) codes.splice(0, 3);
          if (code === 38) colour = number >= 0 && number < 16 ? number % 8 : 7;
        }
      }
      continue;
    }
    const escape = text.indexOf("\x1b", 1);
    const piece = escape < 0 ? text : text.slice(0, escape);
    text = text.slice(piece.length);
    const name = [bold && "b", colour < 7 && `c${colour}`].filter(Boolean).join(" ");
    if (found.at(-1)?.[0] === name) found.at(-1)[1] += piece;
    else found.push([name, piece]);
  }
  return found;
}

// Which lines are shown. The page that was loaded has chosen by the same rules, which part/ansi.rs has as well.
const MARKS = 16;
const chosen = {stream: "", attempt: "", find: ""};
function lower(text) {
  if (/^[\0-\x7f]*$/.test(text)) return text.toLowerCase();
  return [...text].map(char => char.toLowerCase().length === char.length ? char.toLowerCase() : char).join("");
}
function fits(line) {
  return (!chosen.stream || line.stream === chosen.stream)
    && (!chosen.attempt || line.attempt === Number(chosen.attempt))
    && (!chosen.find || lower(pieces(line.text).map(([, text]) => text).join("")).includes(chosen.find));
}
// Splits pieces where they have what was looked for.
function mark(pieces) {
  if (!chosen.find) return pieces;
  const parts = [];
  let left = MARKS;
  for (const [name, text] of pieces) {
    const folded = lower(text);
    let from = 0;
    for (let at; left > 0 && (at = folded.indexOf(chosen.find, from)) >= 0; left--) {
      if (at > from) parts.push([name, text.slice(from, at)]);
      parts.push([name, text.slice(at, at + chosen.find.length), "mark"]);
      from = at + chosen.find.length;
    }
    if (from < text.length) parts.push([name, text.slice(from)]);
  }
  return parts;
}
function write(line) {
  const stream = line.stream === "stderr" ? "err" : "out";
  const said = mark(pieces(line.text)).map(([name, text, element]) => [name, hidden(text), element]);
  return [["", `${line.time.slice(11, 23)} ${line.attempt} ${stream}  `], ...said, ["", `${line.cut ? " \u2026" : ""}\n`]];
}
// Appends lines to a block: text that has no style is one node.
function put(block, lines) {
  let plain = "";
  const flush = () => {
    if (block.lastChild instanceof Text) block.lastChild.data += plain;
    else if (plain) block.append(plain);
    plain = "";
  };
  for (const [name, text, element] of lines.flat()) {
    if (!name && !element) { plain += text; continue; }
    flush();
    const made = document.createElement(element ?? "span");
    if (name) made.className = name;
    made.textContent = text;
    block.append(made);
  }
  flush();
}

function atEnd() { return log.scrollHeight - log.scrollTop - log.clientHeight < 24; }

function draw() {
  frame = 0;
  const lines = waiting;
  waiting = [];
  if (!lines.length) return;
  empty.hidden = true;
  while (lines.length) {
    let block = log.lastElementChild;
    if (!block || !block.classList.contains("block") || Number(block.dataset.lines ?? BLOCK) >= BLOCK) {
      block = document.createElement("div");
      block.className = "block";
      block.dataset.lines = 0;
      log.append(block);
    }
    const room = BLOCK - Number(block.dataset.lines);
    const some = lines.splice(0, room);
    put(block, some);
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
function add(line) {
  waiting.push(line);
  if (waiting.length > 2 * LINES) waiting.splice(0, waiting.length - LINES);
  frame ||= requestAnimationFrame(draw);
}
function gap(missed) { add([["", `\u2014 ${missed} lines were dropped \u2014\n`]]); }
function line(line) {
  if (line.seq <= last) return;
  last = line.seq;
  stored += 1;
  if (!fits(line)) return said();
  found += 1;
  said();
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

// --- Choosing lines ---

const choice = document.getElementById("log-filter");
const total = document.getElementById("log-count");
const isChosen = () => Object.values(chosen).some(Boolean);
function said() {
  if (!isChosen() || saying) return;
  saying = setTimeout(() => { saying = 0; tell(); }, 250);
}
function tell() {
  total.textContent = isChosen() ? `${found.toLocaleString("en")} of ${stored.toLocaleString("en")} lines` : "";
}
function take() {
  const fields = new FormData(choice);
  for (const name of Object.keys(chosen)) chosen[name] = fields.get(name) ?? "";
  chosen.find = lower(chosen.find);
}
// Reads the log again from its beginning, and follows it from there.
let reading = 0;
async function choose() {
  const turn = ++reading;
  stop();
  take();
  const url = new URL(location.href);
  for (const [name, value] of new FormData(choice)) value ? url.searchParams.set(name, value) : url.searchParams.delete(name);
  history.replaceState(history.state, "", url);
  document.getElementById("log-clear").hidden = !isChosen();
  document.getElementById("log-older")?.remove();
  log.replaceChildren();
  waiting = [];
  last = stored = found = 0;
  try {
    for (let more = true; more;) {
      const answer = await fetch(`${log.dataset.logs}?after=${last}&limit=10000`, {headers: {accept: "application/json"}});
      if (turn !== reading) return;
      const lines = answer.ok ? await answer.json() : [];
      if (turn !== reading) return;
      for (const next of lines) line(next);
      more = lines.length === 10000;
    }
  } catch { /* the state line says so */ }
  clearTimeout(saying);
  saying = 0;
  tell();
  empty.textContent = isChosen() ? "No line is like that." : done ? "The guest has written nothing." : "Nothing yet.";
  empty.hidden = found > 0;
  toEnd();
  start();
}
let typing;
choice.addEventListener("submit", event => { event.preventDefault(); clearTimeout(typing); choose(); });
choice.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(choose, 250); });
document.getElementById("log-clear").addEventListener("click", event => {
  event.preventDefault();
  for (const field of choice.querySelectorAll("select, input")) field.value = "";
  choose();
  choice.querySelector("input").focus();
});
take();

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
