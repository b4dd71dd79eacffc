// Events of all tasks as they come, newest first. One stream, and none while nobody looks.

const ROWS = 500;
const rows = document.getElementById("events");
const state = document.getElementById("events-state");
const pause = document.getElementById("events-pause");
const root = document.documentElement.dataset.root;
let source, release, paused = false, waiting = [], frame = 0, seen = 0, left = 0;

function cell(row, label, content) {
  const cell = document.createElement("td");
  cell.dataset.label = label;
  cell.append(content);
  row.append(cell);
}
function draw() {
  frame = 0;
  for (const {kind, event} of waiting.splice(0)) {
    const row = document.createElement("tr");
    const link = document.createElement("a");
    link.href = `task/${event.task}`;
    link.className = "mono";
    link.textContent = `…${event.task.slice(-6)}`;
    const badge = document.createElement("span");
    badge.className = `state ${event.state}`;
    badge.textContent = kind;
    cell(row, "Time", event.time.slice(11, 23));
    cell(row, "Event", badge);
    cell(row, "Plugin", event.plugin);
    cell(row, "Task", link);
    const progress = event.progress && `${Math.round(event.progress.fraction * 100)} % ${event.progress.note}`;
    cell(row, "What", event.cause ?? progress ?? (event.attempt > 1 ? `attempt ${event.attempt}` : ""));
    rows.prepend(row);
  }
  while (rows.rows.length > ROWS) rows.lastElementChild.remove();
}
function add(kind, event) {
  seen += 1;
  waiting.push({kind, event});
  if (waiting.length > ROWS) waiting.shift();
  frame ||= requestAnimationFrame(draw);
}
setInterval(() => {
  if (source && source.readyState === EventSource.OPEN) state.textContent = left ? `${seen} of ${seen + left} events in the last second are shown` : `${seen} events in the last second`;
  seen = left = 0;
}, 1000);

function stop() { source?.close(); source = undefined; release?.(); release = undefined; }
async function start() {
  stop();
  if (paused || document.hidden) { state.textContent = "paused"; return; }
  let place = 0;
  if (navigator.locks) {
    for (; place < 4; place++) {
      const got = await new Promise(resolve => navigator.locks.request(`wasmill-stream-${place}`, {ifAvailable: true}, lock => {
        if (!lock) return resolve(false);
        return new Promise(free => { release = free; resolve(true); });
      }));
      if (got) break;
    }
    if (place === 4) { state.textContent = "Four other tabs of this browser follow a log or events. Close one, then reload this page."; return; }
  }
  const url = new URL(`${root}events`, location.href);
  if (rows.dataset.plugin) url.searchParams.set("plugin", rows.dataset.plugin);
  url.searchParams.set("sample", "50");
  source = new EventSource(url);
  source.addEventListener("left-out", event => { left += JSON.parse(event.data).left_out; });
  source.onopen = () => { state.textContent = "● live"; };
  source.onerror = () => { state.textContent = "The server does not answer; trying again."; };
  for (const kind of ["created", "started", "progress", "suspended", "retrying", "completed", "failed", "cancelled", "deleted"]) {
    source.addEventListener(kind, event => add(kind, JSON.parse(event.data)));
  }
}
pause.addEventListener("click", () => {
  paused = !paused;
  pause.textContent = paused ? "Resume" : "Pause";
  pause.setAttribute("aria-pressed", paused);
  start();
});
document.getElementById("events-clear").addEventListener("click", () => rows.replaceChildren());
document.addEventListener("visibilitychange", start);
addEventListener("pagehide", stop);
start();
