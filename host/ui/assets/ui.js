// What every page shares: patches what has changed, ages, dialogs, keys, copying. Pages work without it.

const root = document.documentElement.dataset.root;
const byId = id => document.getElementById(id);

// The one place where text becomes markup. It is ours: the server escapes everything in it.
const policy = window.trustedTypes?.createPolicy("wasmill", {createHTML: text => text});
const parse = text => new DOMParser().parseFromString(policy ? policy.createHTML(text) : text, "text/html");

let clock = 0; // The server's clock is this much ahead of ours.

const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
function age(then) {
  const seconds = Math.round((Date.now() + clock - then) / 1000);
  const amount = Math.abs(seconds);
  const first = UNITS.findIndex(([, size]) => amount >= size);
  if (first < 0) return "now";
  const [unit, size] = UNITS[first];
  let text = `${Math.floor(amount / size)} ${unit}`;
  const next = UNITS[first + 1];
  const rest = next ? Math.floor(amount % size / next[1]) : 0;
  if (rest && amount / size < 10) text += ` ${rest} ${next[0]}`;
  return seconds < 0 ? `in ${text}` : text;
}
const local = new Intl.DateTimeFormat(undefined, {dateStyle: "medium", timeStyle: "medium"});
function times(within = document) {
  for (const element of within.querySelectorAll("time[data-time]")) {
    const then = Date.parse(element.dateTime);
    const text = element.dataset.time === "age" ? age(then) : local.format(then);
    if (element.textContent !== text) element.textContent = text;
  }
}

let lastSaid = 0;
let hiding;
function say(text) {
  const element = byId("said");
  element.textContent = text;
  clearTimeout(hiding);
  hiding = setTimeout(() => { element.textContent = ""; }, 5000);
  lastSaid = Date.now();
}

// --- What is live ---

const seen = new Map();
for (const element of document.querySelectorAll("[data-live][id]")) seen.set(element.id, element.outerHTML);

function keep(old, fresh) {
  const checked = new Set([...old.querySelectorAll("input:checked")].map(input => input.value));
  for (const input of fresh.querySelectorAll("input[type=checkbox]")) input.checked = checked.has(input.value);
  const open = [...old.querySelectorAll("details")];
  for (const [index, details] of [...fresh.querySelectorAll("details")].entries()) details.open = open[index]?.open ?? details.open;
  const scroll = [...old.querySelectorAll(".scroll")];
  return () => fresh.querySelectorAll?.(".scroll").forEach((box, index) => { box.scrollTop = scroll[index]?.scrollTop ?? 0; });
}

// Replaces an element; where the focus is, only what does not hold it.
function put(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old === document.activeElement) return;
  if (old.contains(document.activeElement)) {
    const [before, after] = [[...old.children], [...fresh.children]];
    if (before.length === after.length) before.forEach((child, index) => put(child, after[index]));
    return;
  }
  const node = document.importNode(fresh, true);
  const restore = keep(old, node);
  old.replaceWith(node);
  restore();
}

function patch(page) {
  let anchored = document.querySelector("tbody[data-anchor]");
  const present = new Set();
  if (moves()) {
    const newest = document.importNode(page.querySelector("tbody[data-anchor]"), true);
    anchored.replaceWith(newest);
    anchored = newest;
    for (const row of newest.rows) seen.set(row.id, row.outerHTML);
  }
  for (const fresh of page.querySelectorAll("[data-live][id]")) {
    present.add(fresh.id);
    const old = byId(fresh.id);
    if (!old || seen.get(fresh.id) === fresh.outerHTML) continue;
    seen.set(fresh.id, fresh.outerHTML);
    put(old, fresh);
  }
  // What has left the filter stays, so that nothing disappears while one reads it.
  for (const row of anchored?.rows ?? []) row.classList.toggle("gone", !present.has(row.id));
  if (page.title) document.title = page.title;
  ended = Boolean(page.querySelector("[data-ended]")) && !byId("webhook");
  times();
  count();
}

// Whether the list shows newer tasks as they come: not while one is chosen or has the focus.
const followed = byId("follow");
const following = () => followed?.getAttribute("aria-pressed") === "true";
function moves() {
  const rows = document.querySelector("tbody[data-anchor]");
  return following() && Boolean(rows) && !rows.contains(document.activeElement) && !boxes().some(box => box.checked);
}
followed?.addEventListener("click", () => {
  followed.setAttribute("aria-pressed", !following());
  known = "";
  poll();
});

const live = "livePage" in document.body.dataset;
const state = byId("live-state");
const pause = byId("pause");
let ended = false, paused = false, known = "", failures = 0, answered = Date.now(), timer;

function show() {
  if (!live) return;
  state.hidden = pause.hidden = ended;
  state.className = failures > 1 ? "live lost" : paused ? "live paused" : "live";
  const text = failures > 1 ? `no answer since ${new Date(answered).toLocaleTimeString()}` : paused ? "paused" : "● live";
  if (state.textContent !== text) state.textContent = text;
  pause.textContent = paused ? "Resume" : "Pause";
  pause.setAttribute("aria-pressed", paused);
  for (const button of document.querySelectorAll("main button[type=submit]")) button.disabled = failures > 1;
}

async function poll() {
  clearTimeout(timer);
  if (paused || ended || document.hidden) return;
  let wait = 1000;
  try {
    const url = new URL(location.href);
    url.hash = "";
    for (const name of ["did", "n", "left"]) url.searchParams.delete(name);
    url.searchParams.set("fragment", "1");
    const anchor = document.querySelector("tbody[data-anchor]")?.dataset.anchor;
    if (anchor && !moves()) url.searchParams.set("anchor", anchor);
    const answer = await fetch(url, {headers: known ? {"if-none-match": known} : {}, cache: "no-store"});
    wait = Number(answer.headers.get("poll-after")) || 5000;
    clock = (Date.parse(answer.headers.get("date")) || Date.now()) - Date.now();
    if (Math.abs(clock) < 2000) clock = 0;
    if (answer.status === 200) {
      known = answer.headers.get("etag") ?? "";
      const text = await answer.text();
      if (!paused) patch(parse(text));
    } else if (answer.status === 401 || answer.status === 403) {
      location.reload();
      return;
    } else if (answer.status !== 304) throw new Error(answer.status);
    if (failures > 1) say("The server answers again.");
    failures = 0;
    answered = Date.now();
  } catch {
    failures += 1;
    if (failures === 2) say("The server does not answer.");
    wait = Math.min(30000, 1000 * 2 ** failures);
  }
  show();
  if (!ended) timer = setTimeout(poll, wait);
}
if (live) {
  pause.addEventListener("click", () => { paused = !paused; show(); document.dispatchEvent(new CustomEvent("pause", {detail: paused})); poll(); });
  document.addEventListener("visibilitychange", poll);
  timer = setTimeout(poll, 1000);
  show();
}
times();
setInterval(() => { if (!document.hidden && !paused) times(); }, 1000);

// --- Selection ---

const boxes = () => [...document.querySelectorAll("tbody input[name=id]")];
function count() {
  const bar = byId("selection");
  if (!bar) return;
  const chosen = boxes().filter(box => box.checked).length;
  bar.hidden = chosen === 0;
  byId("selected").textContent = `${chosen} selected:`;
  const all = byId("all-here");
  if (all) { all.checked = chosen > 0 && chosen === boxes().length; all.indeterminate = chosen > 0 && !all.checked; }
}
document.addEventListener("change", event => {
  if (event.target.id === "all-here") for (const box of boxes()) box.checked = event.target.checked;
  count();
});
count();

// --- Dialogs: a page that asks, opened over this one ---

const dialog = byId("dialog");
let opener;
async function openDialog(href) {
  opener = document.activeElement;
  try {
    const url = new URL(href, location.href);
    url.searchParams.set("fragment", "1");
    const answer = await fetch(url, {cache: "no-store"});
    const page = parse(await answer.text());
    // Its links and forms are relative to its own URL.
    const content = document.importNode(page.querySelector("main"), true);
    for (const [name, selector] of [["action", "form"], ["href", "a[href]"]]) {
      for (const element of content.querySelectorAll(selector)) {
        element.setAttribute(name, new URL(element.getAttribute(name), url).href);
      }
    }
    dialog.replaceChildren(...content.childNodes);
    curls(dialog);
    dialog.showModal();
    (dialog.querySelector("input:not([type=hidden])") ?? dialog.querySelector("button[type=submit], a.button"))?.focus();
  } catch {
    location.href = href;
  }
}
dialog.addEventListener("close", () => { dialog.replaceChildren(); opener?.focus(); });
document.addEventListener("click", event => {
  const target = event.target.closest("a, button");
  if (!target || event.defaultPrevented || event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (target.matches("[data-close]") && dialog.contains(target)) {
    event.preventDefault();
    dialog.close();
  } else if (target.matches("a[data-dialog]")) {
    event.preventDefault();
    openDialog(target.href);
  } else if (target.dataset.copy !== undefined) {
    copy(target.dataset.copy);
  } else if (target.dataset.copyFrom !== undefined) {
    fetch(target.dataset.copyFrom).then(answer => answer.text()).then(copy, () => say("The server does not answer."));
  } else if (target.dataset.copyBefore !== undefined) {
    copy(target.previousElementSibling.textContent);
  }
});
// --- What is done to all that match, a part at a time, so that one sees how far it is and can stop it ---

function choice(label, act, name = "") {
  const made = document.createElement("button");
  made.type = "button";
  made.className = name;
  made.textContent = label;
  made.addEventListener("click", act);
  return made;
}
async function parts(form) {
  const [total, done] = [Number(form.elements.count.value), form.dataset.done];
  // A field of the form is called action.
  const base = new URL(form.getAttribute("action"), location.href);
  const url = new URL(form.dataset.parts, base);
  const box = document.createElement("div");
  const [bar, text, said, why, row] = ["progress", "p", "p", "div", "div"].map(name => document.createElement(name));
  bar.max = total;
  bar.value = 0;
  bar.setAttribute("aria-label", "progress");
  said.className = "sr";
  said.setAttribute("role", "status");
  why.setAttribute("role", "alert");
  row.className = "buttons end";
  box.className = "parts";
  box.append(bar, text, said, why, row);
  form.hidden = true;
  form.after(box);
  let [size, number, count, left, quarter, stopped] = [100, 0, 0, 0, 0, false];
  const list = () => {
    const to = new URL("tasks", base);
    to.search = form.elements.back.value;
    for (const [name, value] of [["did", form.elements.action.value], ["n", count], ["left", left]]) to.searchParams.append(name, value);
    location.href = to;
  };
  const show = () => {
    bar.value = Math.min(total, count + left);
    text.textContent = `${count} of ${total} ${done}${left ? `, ${left} left out` : ""}`;
    if (Math.floor(4 * (count + left) / total) > quarter) { quarter = Math.floor(4 * (count + left) / total); said.textContent = text.textContent; }
  };
  const stop = () => { stopped = true; };
  dialog.addEventListener("cancel", stop, {once: true});
  const rest = reason => {
    why.className = reason ? "alert" : "";
    why.textContent = reason;
    said.textContent = `Stopped: ${text.textContent}.`;
    if (!box.isConnected) return say(said.textContent);
    row.replaceChildren(choice("Continue", run), choice("See the tasks", list, "primary"));
    row.firstChild.focus();
  };
  async function run() {
    stopped = false;
    why.className = why.textContent = "";
    row.replaceChildren(choice("Stop", stop));
    row.firstChild.focus();
    show();
    while (!stopped) {
      url.searchParams.set("limit", size);
      const started = performance.now();
      let part;
      try {
        // The same key for the same part: if only the answer was lost, the server does not do it again.
        const answer = await fetch(url, {method: "POST", headers: {"idempotency-key": `${form.elements.once.value}-${number}`}});
        part = await answer.json();
        if (!answer.ok) return rest(part.detail);
      } catch {
        return rest("The server does not answer.");
      }
      number += 1;
      count += part.retried ?? part.deleted;
      left += (part.held ?? 0) + (part.refused ?? 0);
      show();
      if (part.next) url.searchParams.set("cursor", part.next);
      if (part.stopped_by) return rest(part.stopped_by.detail);
      if (!part.next) return list();
      const took = performance.now() - started;
      size = took < 400 ? Math.min(2 * size, 5000) : took > 1500 ? Math.max(Math.floor(size / 2), 50) : size;
    }
    rest("");
  }
  run();
}

// An upload shows what changes before it is taken; the file stays chosen meanwhile.
async function preview(form) {
  const fields = new FormData(form);
  fields.set("check", "1");
  say("Compiling …");
  const answer = await fetch(form.action, {method: "POST", body: fields});
  const page = parse(await answer.text());
  const shown = page.querySelector("#changes") ?? page.querySelector("[role=alert]");
  const row = document.createElement("div");
  row.className = "buttons end";
  const back = document.createElement("button");
  back.type = "button";
  back.textContent = "Back";
  back.addEventListener("click", () => dialog.close());
  row.append(back);
  if (shown.id === "changes") {
    const take = document.createElement("button");
    take.type = "button";
    take.className = "primary";
    take.textContent = shown.querySelector("h2").textContent.replace("?", "");
    take.addEventListener("click", () => { take.disabled = true; form.submit(); });
    row.append(take);
  }
  opener = document.activeElement;
  dialog.replaceChildren(...document.importNode(shown, true).childNodes, row);
  dialog.showModal();
  row.lastElementChild.focus();
}
document.addEventListener("submit", event => {
  const form = event.target;
  if (form.matches(".upload")) {
    event.preventDefault();
    preview(form).catch(() => form.submit());
    return;
  }
  if (form.dataset.parts) {
    event.preventDefault();
    parts(form);
    return;
  }
  if (form.method === "get" && new URL(form.action).pathname.endsWith("/ui/act")) {
    event.preventDefault();
    openDialog(`${form.action}?${new URLSearchParams(new FormData(form, event.submitter))}`);
    return;
  }
  // A second click must not send it twice. The button that was pressed is part of what is sent, so it is disabled later.
  if (form.method === "post") setTimeout(() => { for (const button of form.querySelectorAll("button")) button.disabled = true; });
});
addEventListener("pageshow", event => { if (event.persisted) for (const button of document.querySelectorAll("button:disabled")) button.disabled = false; });

// --- Copying; without TLS a browser has no clipboard for pages of other machines ---

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    (dialog.open ? dialog : document.body).append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  say("Copied.");
}
function curls(within = document) {
  const base = new URL(root, location.href).href.replace(/\/$/, "");
  for (const code of within.querySelectorAll("code[data-curl]")) {
    code.textContent = code.textContent.replace("http://127.0.0.1:8080", base);
  }
}
curls();

// --- Theme ---

const themes = ["system", "light", "dark"];
const button = byId("theme");
function theme() {
  const now = localStorage.getItem("theme") ?? "system";
  button.textContent = {system: "◐ auto", light: "☀ light", dark: "☾ dark"}[now];
  button.setAttribute("aria-label", `Theme: ${button.textContent}`);
  if (now === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = now;
}
button.addEventListener("click", () => {
  const now = localStorage.getItem("theme") ?? "system";
  localStorage.setItem("theme", themes[(themes.indexOf(now) + 1) % themes.length]);
  theme();
});
theme();

// --- Keys ---

const KEYS = [
  ["?", "these keys"], ["/", "find a task, tag, key, plugin or schedule"], ["g then o, t, p, s, l, h, d, k, a", "go to a page"], ["n", "submit a task"],
  ["j, k", "next, previous row or task of the list"], ["Enter, o", "open"], ["x", "select; X up to here, * all here"],
  ["r, c, d", "retry, cancel, delete what is selected or open; always asks"], [".", "show newer"],
  ["Space", "pause what is live"], ["1–6", "tabs of a task"], ["y", "copy the id; Y the request"], ["f", "show newer as they come"], ["Esc", "close, or clear the selection"],
];
const keysOn = () => localStorage.getItem("keys") !== "off";
function help() {
  const list = document.createElement("dl");
  list.className = "keys";
  for (const [key, does] of KEYS) {
    const [term, text] = [document.createElement("dt"), document.createElement("dd")];
    const mark = document.createElement("kbd");
    mark.textContent = key;
    term.append(mark);
    text.textContent = does;
    list.append(term, text);
  }
  const title = document.createElement("h1");
  title.id = "dialog-title";
  title.textContent = "Keyboard shortcuts";
  const label = document.createElement("label");
  label.className = "check";
  const box = document.createElement("input");
  box.type = "checkbox";
  box.checked = keysOn();
  box.id = "keys-on";
  box.addEventListener("change", () => localStorage.setItem("keys", box.checked ? "on" : "off"));
  label.append(box, "Shortcuts are on");
  const close = document.createElement("button");
  close.textContent = "Close";
  close.type = "button";
  close.addEventListener("click", () => dialog.close());
  const row = document.createElement("div");
  row.className = "buttons end";
  row.append(close);
  opener = document.activeElement;
  dialog.replaceChildren(title, list, label, row);
  dialog.showModal();
  close.focus();
}
byId("keys").addEventListener("click", help);

const links = () => [...document.querySelectorAll("a.open")];
function step(by) {
  const all = links();
  const row = document.activeElement.closest("tr");
  const at = all.findIndex(link => row?.contains(link));
  all[Math.max(0, Math.min(all.length - 1, at < 0 ? 0 : at + by))]?.focus();
}
function click(selector) {
  const element = document.querySelector(selector);
  element?.click();
  return Boolean(element);
}

// --- The list that a task was opened from: its neighbours, and the way back ---

const id = document.querySelector("[data-id]")?.dataset.id;
if (!id && links().length) {
  addEventListener("pagehide", () => sessionStorage.setItem("list", JSON.stringify({url: location.pathname + location.search, ids: links().map(link => link.title)})));
}
function siblings() {
  const list = JSON.parse(sessionStorage.getItem("list") ?? "null");
  const at = list?.ids.indexOf(id) ?? -1;
  if (at < 0) return;
  byId("list").href = list.url;
  const show = (name, other) => {
    const link = byId(name);
    link.hidden = !other;
    if (other) link.href = location.pathname.replace(id, other);
  };
  show("previous", list.ids[at - 1]);
  show("next", list.ids[at + 1]);
  byId("sibling-place").textContent = `${at + 1} of ${list.ids.length}`;
  byId("siblings").hidden = false;
}
if (id) siblings();

let going = false;
let marked; // The box that was selected last.
function upTo(box) {
  const all = boxes();
  const [from, to] = [all.indexOf(marked?.isConnected ? marked : all[0]), all.indexOf(box)].sort((a, b) => a - b);
  for (const other of all.slice(from, to + 1)) other.checked = true;
  marked = box;
  count();
  return true;
}
document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || dialog.open || event.defaultPrevented) return;
  if (event.target.closest("textarea, select, [contenteditable], input:not([type=checkbox], [type=radio])")) return;
  if (!keysOn()) return;
  const key = event.key;
  const press = () => {
    if (going) {
      going = false;
      return click(`.top nav a[data-key="${CSS.escape(key)}"]`);
    }
    const box = document.activeElement.closest("tr")?.querySelector("input[name=id]");
    const chosen = boxes().some(other => other.checked);
    switch (key) {
      case "?": help(); return true;
      case "g": going = true; setTimeout(() => { going = false; }, 1500); return true;
      case "n": return click('.top nav a[data-key="n"]');
      case "/": byId("find").focus(); return true;
      case "j": return id ? click("#next:not([hidden])") : (step(1), true);
      case "k": return id ? click("#previous:not([hidden])") : (step(-1), true);
      case "o": { const link = document.activeElement.closest("tr")?.querySelector("a.open"); link?.click(); return Boolean(link); }
      case "x": if (box) { box.click(); marked = box; } return Boolean(box);
      case "X": return Boolean(box) && upTo(box);
      case "f": return click("#follow");
      case "*": return click("#all-here");
      case ".": return click('#newer a[data-key="."]');
      case " ": if (event.target.closest("button, summary, input, a")) return false; pause.hidden || pause.click(); return !pause.hidden;
      case "Escape": if (!chosen) return false; for (const other of boxes()) other.checked = false; count(); return true;
      case "y": { const chosen = id ?? box?.value; if (chosen) copy(chosen); return Boolean(chosen); }
      case "Y": { const line = document.querySelector("main code[data-curl]"); if (line) copy(line.textContent); return Boolean(line); }
      case "r": case "c": case "d": {
        const action = {r: "retry", c: "cancel", d: "delete"}[key];
        if (box && !chosen) { box.checked = true; count(); }
        return click(`#selection button[value=${action}], a[data-key="${key}"]`);
      }
      default: return /^[1-9]$/.test(key) && click(`.tabs a:nth-child(${key})`);
    }
  };
  if (press()) event.preventDefault();
});
