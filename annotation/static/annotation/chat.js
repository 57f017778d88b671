/* Asks the models for the replies that wait, and shows each while it is written. What breaks off is kept by the studio. */
"use strict";
const chat = document.getElementById("chat");
const token = document.querySelector("#say [name=csrfmiddlewaretoken]").value;
const EVERY = 1000; // milliseconds between looks at the servers
const streams = new Set(); // ids of replies that this page is reading
let running = false;

const post = (url) => fetch(url, { method: "POST", headers: { "X-CSRFToken": token } });
const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
const pending = () => [...chat.querySelectorAll("[data-reply]")].filter((card) => ["waiting", "writing"].includes(card.dataset.state));

/* ---- The servers ---- */
let asleep = true; // whether a server that is needed has to be asked for

async function look() {
  const answer = asleep ? await post(chat.dataset.servers) : await fetch(chat.dataset.servers);
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  const { servers, problem } = await answer.json();
  const bySide = Object.fromEntries(servers.map((server) => [server.side, server]));
  const waiting = pending().filter((card) => card.dataset.state === "waiting");
  asleep = waiting.some((card) => ["", "stopped"].includes(bySide[card.dataset.side].state));
  for (const card of waiting) {
    const server = bySide[card.dataset.side];
    if (server.state === "healthy") read(card);
    else if (!streams.has(card.id)) tell(card, server, problem);
  }
}

function tell(card, server, problem) {
  const bar = card.querySelector("[data-bar]");
  let words = problem || `${server.words} …`;
  if (server.state === "crashed") words = `${server.words}. ${server.error}`;
  say(card, words);
  card.querySelector("[data-eta]").textContent = server.state === "starting" && server.eta ? `about ${server.eta} s left` : "";
  bar.hidden = server.state !== "starting";
  if (server.steps) { bar.max = server.steps; bar.value = server.step; }
  if (server.state === "crashed" && !card.querySelector("[data-wake]")) {
    const button = Object.assign(document.createElement("button"), { type: "button", className: "button small", textContent: "Start it again" });
    button.dataset.wake = "";
    card.querySelector("[data-words]").after(button);
  }
}

function say(card, words) {
  const line = card.querySelector("[data-words]");
  if (line && line.textContent !== words) line.textContent = words;
}

/* ---- A reply, word by word ---- */
async function read(card) {
  if (streams.has(card.id)) return;
  streams.add(card.id);
  try {
    const answer = await post(card.dataset.write);
    if (answer.status === 409) {
      say(card, (await answer.json()).wait);
      await sleep(EVERY);
    } else if (answer.ok) {
      card.dataset.state = "writing";
      say(card, "Writing …");
      card.querySelector("[data-eta]").textContent = "";
      card.querySelector("[data-bar]").hidden = true;
      await show(card.querySelector("[data-stream]"), answer.body);
    } else throw new Error(`status ${answer.status}`);
  } catch {
    window.studio.toast("The connection broke off. What was written is kept.", "warning");
    await sleep(EVERY);
  }
  streams.delete(card.id);
  await refresh(card.closest("[data-turn]"), card.id);
}

async function show(place, body) {
  place.textContent = "";
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    const words = lines.map((line) => JSON.parse(line).text ?? "").join("");
    const follows = innerHeight + scrollY > document.documentElement.scrollHeight - 120;
    place.append(words);
    if (follows) scrollTo({ top: document.documentElement.scrollHeight });
  }
}

/* ---- A turn as the studio has it now; while its other reply is being read, only this one's part ---- */
async function refresh(turn, replyId = "") {
  const answer = await fetch(turn.dataset.turn);
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById(turn.id);
  const busy = [...turn.querySelectorAll("[data-reply]")].some((card) => streams.has(card.id));
  const [old, now] = busy ? [document.getElementById(replyId), fresh.querySelector(`#${replyId}`)] : [turn, fresh];
  if (!old || !now) return;
  old.replaceWith(now);
  window.htmx.process(now);
}

async function run() {
  if (running) return;
  running = true;
  while (pending().length) {
    try {
      await look();
      for (const card of pending()) {
        if (card.dataset.state === "writing" && !streams.has(card.id)) await refresh(card.closest("[data-turn]"), card.id);
      }
    } catch {
      for (const card of pending()) if (!streams.has(card.id)) say(card, "The studio cannot be reached. Trying again …");
    }
    await sleep(EVERY);
  }
  running = false;
}

document.addEventListener("click", async (event) => {
  const stop = event.target.closest("[data-stop]");
  if (stop) {
    stop.disabled = true;
    const card = stop.closest("[data-reply]");
    await post(card.dataset.stopUrl);
    if (!streams.has(card.id)) await refresh(card.closest("[data-turn]"), card.id);
  }
  const idea = event.target.closest("[data-tries]");
  if (idea) {
    const message = document.querySelector("#say textarea");
    message.value = idea.dataset.tries;
    message.focus();
  }
  const wake = event.target.closest("[data-wake]");
  if (wake) { wake.remove(); await post(chat.dataset.servers); }
});
document.addEventListener("htmx:afterSwap", (event) => {
  const done = event.detail.target.querySelector?.("[data-refreshes]");
  if (done) refresh(document.getElementById(done.dataset.refreshes));
});
if (!location.hash) [...chat.querySelectorAll("[data-turn]")].slice(1).at(-1)?.scrollIntoView();
document.addEventListener("htmx:afterSettle", () => { asleep = true; run(); });
run();
