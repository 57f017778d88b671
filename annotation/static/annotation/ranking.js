/* Ranking by keyboard and by drag and drop. The radio buttons are the truth: without this file they are the whole interface. */
"use strict";
const form = document.getElementById("work");
const cards = [...form.querySelectorAll(".answer")];
const letters = cards.map((card) => card.dataset.letter);
const strength = document.getElementById("strength-field");
const board = form.querySelector("[data-tiers]");
const words = document.getElementById("ranking-words");
const UNRANKABLE = "x";
const ORDINALS = ["First", "Second", "Third"];

const placeOf = (letter) => form.elements[`rank_${letter}`].value;
const nextOpen = () => cards.find((card) => !placeOf(card.dataset.letter));
const upper = (letter) => letter.toUpperCase();

function put(letter, place) {
  form.elements[`rank_${letter}`].value = place;
  form.dispatchEvent(new Event("input", { bubbles: true }));
  show();
}

/* ---- What the ranking says now ---- */
function tiers() {
  const found = new Map();
  for (const letter of letters) {
    const place = placeOf(letter);
    if (place) found.set(place, [...(found.get(place) ?? []), letter]);
  }
  return found;
}

function show() {
  const found = tiers();
  const ranked = [...found.keys()].filter((place) => place !== UNRANKABLE).sort((a, b) => a - b);
  strength.hidden = ranked.length !== 2;
  for (const card of cards) card.classList.toggle("placed", Boolean(placeOf(card.dataset.letter)));
  for (const tier of board.querySelectorAll(".tier")) {
    const here = tier.dataset.place ? found.get(tier.dataset.place) ?? [] : letters.filter((letter) => !placeOf(letter));
    tier.querySelector(".chips").replaceChildren(...here.map(chip));
    if (!tier.dataset.place) tier.querySelector(".tier-name").textContent = here.length ? "To place" : "All placed";
  }
  const parts = ranked.map((place, i) => `${ORDINALS[i] ?? `${i + 1}th`}: ${found.get(place).map(upper).join(" and ")}`);
  if (found.has(UNRANKABLE)) parts.push(`Not rankable: ${found.get(UNRANKABLE).map(upper).join(" and ")}`);
  words.textContent = parts.length ? `${parts.join(". ")}.` : "";
}

/* ---- The board: places to drop answers on ---- */
function chip(letter) {
  const element = document.createElement("span");
  element.className = "chip";
  element.textContent = upper(letter);
  element.draggable = true;
  element.dataset.letter = letter;
  return element;
}

function tier(place, title) {
  const element = document.createElement("div");
  element.className = place ? "tier" : "tier unplaced";
  if (place) element.dataset.place = place;
  const name = document.createElement("span");
  name.className = "tier-name";
  name.textContent = title;
  const chips = document.createElement("span");
  chips.className = "chips";
  element.append(name, chips);
  return element;
}

board.append(tier("", "To place"), ...letters.map((_, i) => tier(String(i + 1), String(i + 1))), tier(UNRANKABLE, "Not rankable"));
board.hidden = false;
board.setAttribute("aria-hidden", "true"); // the same is said in words, and done by keyboard on the answers
for (const card of cards) card.querySelector(".letter").draggable = true;

document.addEventListener("dragstart", (event) => {
  const source = event.target.closest?.("[draggable=true]");
  const letter = source?.dataset.letter ?? source?.closest(".answer")?.dataset.letter;
  if (!letter) return;
  event.dataTransfer.setData("text/plain", letter);
  event.dataTransfer.effectAllowed = "move";
  board.classList.add("dragging");
});
document.addEventListener("dragend", () => board.classList.remove("dragging"));
for (const target of board.querySelectorAll(".tier[data-place]")) {
  target.addEventListener("dragover", (event) => { event.preventDefault(); target.classList.add("over"); });
  target.addEventListener("dragleave", () => target.classList.remove("over"));
  target.addEventListener("drop", (event) => {
    event.preventDefault();
    target.classList.remove("over");
    const letter = event.dataTransfer.getData("text/plain");
    if (letters.includes(letter)) put(letter, target.dataset.place);
  });
}

/* ---- Keyboard ---- */
function onward(from) {
  const start = cards.indexOf(from);
  const open = [...cards.slice(start + 1), ...cards.slice(0, start + 1)].find((card) => !placeOf(card.dataset.letter));
  open?.focus();
}

function send() {
  const open = nextOpen();
  if (open) {
    window.studio.toast(`Answer ${upper(open.dataset.letter)} has no place yet.`, "info");
    open.focus();
  } else form.requestSubmit();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const at = event.target;
  const radio = at.matches("input[type=radio]");
  if (at.closest("input, textarea, select, [contenteditable]") && !radio) return;
  const card = at.closest(".answer") ?? cards[0];
  const used = shifted(event) || moved(event, card, radio) || placed(event, card) || (event.key === "Enter" && entered(at, radio));
  if (used) { event.preventDefault(); event.stopPropagation(); }
}, true);

function shifted(event) {
  const digit = /^Digit([1-3])$/.exec(event.code)?.[1];
  if (!event.shiftKey || !digit || strength.hidden) return false;
  form.elements.strength.value = digit;
  form.dispatchEvent(new Event("input", { bubbles: true }));
  return true;
}

function placed(event, card) {
  const place = event.key === "0" ? UNRANKABLE : event.key;
  if (place !== UNRANKABLE && !(/^[1-9]$/.test(place) && Number(place) <= cards.length)) return false;
  put(card.dataset.letter, place);
  onward(card);
  return true;
}

function moved(event, card, radio) {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (step && !radio) {
    const here = cards.indexOf(card);
    const there = document.activeElement.closest(".answer") ? here + step : here;
    cards[(there + cards.length) % cards.length].focus();
    return true;
  }
  const named = event.shiftKey ? -1 : letters.indexOf(event.key.toLowerCase());
  if (named < 0) return false;
  cards[named].focus();
  return true;
}

function entered(at, radio) {
  if (!radio && at.closest("button, a, summary")) return false;
  const open = nextOpen();
  if (open && at.closest(".answer") !== open) open.focus();
  else send();
  return true;
}

form.addEventListener("change", show);
show();
if (document.activeElement === document.body) (nextOpen() ?? cards[0]).focus({ preventScroll: true });

/* ---- The dialog that files a failure ---- */
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-failing]");
  const select = document.querySelector("#failure [name=failure-answer]");
  if (button && select) select.value = button.dataset.failing;
});
document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.xhr.status === 422) { event.detail.shouldSwap = true; event.detail.isError = false; }
});
