/* Hands an answer in by itself, so that a lost connection loses nothing: until the studio has it, it is kept in this
   browser with its idempotency key, and sent again; the studio takes it in once, however often it arrives. */
"use strict";
const box = document.getElementById("outbox");
const form = document.getElementById("work");
const STORE = `studio:outbox:${box?.dataset.user ?? ""}`;
const AGAIN = 3000; // milliseconds
const here = location.pathname;
let flying = false;

/* ---- What is kept: {key: {url, body, key, at}} of this user ---- */
function kept() {
  try { return JSON.parse(localStorage.getItem(STORE)) ?? {}; } catch { return {}; }
}
function keep(entries) {
  try { localStorage.setItem(STORE, JSON.stringify(entries)); } catch { /* this page still has it */ }
}
let mine = null; // the entry of this page
const waiting = () => ({ ...kept(), ...(mine ? { [mine.key]: mine } : {}) });
function put(entry) { mine = entry; keep({ ...kept(), [entry.key]: entry }); }
function drop(key) {
  if (mine?.key === key) mine = null;
  const entries = kept();
  delete entries[key];
  keep(entries);
}

const csrfToken = () => /(?:^|; )csrftoken=([^;]+)/.exec(document.cookie)?.[1] ?? document.querySelector("[name=csrfmiddlewaretoken]").value;

/* ---- Sending ---- */
async function send(entry) {
  let answer;
  try {
    answer = await fetch(entry.url, {
      method: "POST", body: entry.body, signal: AbortSignal.timeout(30_000),
      headers: { "Content-Type": "application/x-www-form-urlencoded", "X-CSRFToken": csrfToken(), Accept: "application/json" },
    });
  } catch {
    return later(entry, "The studio cannot be reached.");
  }
  const isJson = answer.headers.get("Content-Type")?.startsWith("application/json");
  if (answer.ok && isJson) return arrived(entry, (await answer.json()).next);
  if (answer.status === 422) return refused(entry);
  if (answer.redirected || answer.status === 401 || answer.status === 403) return later(entry, "You are signed out: sign in again in another tab.");
  if (answer.status === 404) return later(entry, "The studio does not find this task for you any more. Ask a lead.");
  return later(entry, "The studio failed to answer.");
}

function arrived(entry, next) {
  drop(entry.key);
  if (entry.url === here) location.assign(next);
  else window.studio.toast("An answer that was waiting in this browser has been sent.", "success");
}

/* Something is missing in it: let the studio show the form again; from another page, as the draft of its task. */
async function refused(entry) {
  if (entry.url === here && form) {
    drop(entry.key);
    for (const [name, value] of new URLSearchParams(entry.body)) {
      if (name === "confirmed") form.append(Object.assign(document.createElement("input"), { type: "hidden", name, value }));
    }
    form.querySelector("[name=csrfmiddlewaretoken]").value = csrfToken();
    return form.submit();
  }
  const fields = {};
  for (const [name, value] of new URLSearchParams(entry.body)) if (name !== "key") (fields[name] ??= []).push(value);
  const saved = await fetch(entry.draft, {
    method: "PUT", body: JSON.stringify({ content: { fields } }),
    headers: { "Content-Type": "application/json", "X-CSRFToken": csrfToken() },
  });
  if (saved.ok || saved.status === 409) drop(entry.key);
  window.studio.toast("An answer that was waiting in this browser needs another look: open its task under Annotate.", "warning");
}

function later(entry, why) {
  if (entry.url !== here || !form) return;
  document.getElementById("outbox-why").textContent = why;
  if (box.hidden) box.scrollIntoView({ block: "nearest" });
  box.hidden = false;
  form.inert = true;
}

async function sendAll() {
  if (flying) return;
  flying = true;
  try { for (const entry of Object.values(waiting())) await send(entry); } finally { flying = false; }
}

/* ---- The form of this page ---- */
form?.addEventListener("submit", (event) => {
  if (event.defaultPrevented) return;
  event.preventDefault();
  if (form.dataset.pending) return;
  form.dataset.pending = "yes";
  for (const dialog of document.querySelectorAll("dialog:modal")) dialog.close();
  form.querySelector(".work-bar [type=submit]").setAttribute("aria-busy", "true");
  document.documentElement.classList.add("busy");
  const fields = new FormData(form, event.submitter);
  fields.delete("csrfmiddlewaretoken");
  put({ url: here, body: new URLSearchParams(fields).toString(), key: fields.get("key"), at: Date.now(), draft: form.dataset.draft });
  sendAll();
});

function reset() {
  delete form.dataset.pending;
  form.inert = false;
  box.hidden = true;
  form.querySelector(".work-bar [type=submit]").removeAttribute("aria-busy");
  document.documentElement.classList.remove("busy");
}

document.getElementById("outbox-back")?.addEventListener("click", () => {
  if (mine) drop(mine.key);
  reset();
  form.querySelector(".answer, textarea")?.focus();
});

// Back to a page whose answer was sent: the studio knows what became of it.
addEventListener("pageshow", (event) => { if (event.persisted && form?.dataset.pending) location.reload(); });
addEventListener("online", sendAll);
setInterval(() => { if (Object.keys(waiting()).length) sendAll(); }, AGAIN);

const left = Object.values(kept()).find((entry) => entry.url === here);
if (left && form) { // the page was closed, or reloaded, before it could be sent
  mine = left;
  form.dataset.pending = "yes";
  later(left, "It waits in this browser since you handed it in.");
}
sendAll();
