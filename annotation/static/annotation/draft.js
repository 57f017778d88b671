/* Keeps what is typed into form[data-draft] as the claim's draft, and says when the lease is over. */
"use strict";
const form = document.querySelector("form[data-draft]");
const state = document.getElementById("save-state");
const token = form.querySelector("[name=csrfmiddlewaretoken]");
// After signing in again in another tab the cookie is newer than the page.
const newestToken = () => /(?:^|; )csrftoken=([^;]+)/.exec(document.cookie)?.[1] ?? token.value;
const EVERY = 3000; // milliseconds

function snapshot() {
  const fields = {};
  for (const [name, value] of new FormData(form)) {
    if (name !== "csrfmiddlewaretoken" && name !== "key") (fields[name] ??= []).push(value);
  }
  return JSON.stringify({ content: { fields } });
}

// A form that came back with errors holds what no draft has yet.
let saved = form.querySelector(".errorlist") || document.querySelector(".errorlist.nonfield") ? "" : snapshot();
let saving = false;

async function save(leaving = false) {
  const body = snapshot();
  if (form.dataset.pending || body === saved || (saving && !leaving)) return;
  saving = true;
  try {
    const answer = await fetch(form.dataset.draft, {
      method: "PUT", body, keepalive: leaving,
      headers: { "Content-Type": "application/json", "X-CSRFToken": newestToken() },
    });
    if (answer.ok) {
      saved = body;
      // What was typed while this was on its way is not saved yet.
      show(snapshot() === body ? `Draft saved ${new Date().toTimeString().slice(0, 5)}` : "Editing …");
    } else if (answer.status === 409) {
      show("This task has your answer already");
    } else {
      show("Draft not saved: sign in again in another tab", true);
    }
  } catch {
    show("Draft not saved: the studio cannot be reached. Trying again", true);
  } finally {
    saving = false;
  }
}

function show(text, bad = false) {
  if (bad && !state.classList.contains("unsaved")) window.studio.toast(`${text}. What you typed is still here.`, "warning");
  if (state.textContent !== text) state.textContent = text;
  state.classList.toggle("unsaved", bad);
}

setInterval(save, EVERY);
form.addEventListener("focusout", () => save());
form.addEventListener("input", () => { if (!state.classList.contains("unsaved")) show("Editing …"); });
form.addEventListener("submit", () => { token.value = newestToken(); });
addEventListener("pagehide", () => save(true));
document.addEventListener("visibilitychange", () => { if (document.visibilityState === "hidden") save(true); });

const left = new Date(form.dataset.expires) - Date.now();
if (left > 0) setTimeout(() => { document.getElementById("lease-over").hidden = false; }, Math.min(left, 2 ** 31 - 1));
