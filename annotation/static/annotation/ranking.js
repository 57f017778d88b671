/* Ranking by keyboard and by drag and drop. The radio buttons are the truth: without this file they are the whole interface. */
"use strict";
const form = document.getElementById("work");
const cards = [...form.querySelectorAll(".answer")];
const letters = cards.map((card) => card.dataset.letter);
const strength = document.getElementById("strength-field"); // null where the project does not ask for it
const scale = document.getElementById("scale"); // for two answers
const unchanged = document.getElementById("unchanged"); // for three and more
const hasUnrankable = Boolean(form.querySelector(".segment.unrankable"));
const board = form.querySelector("[data-tiers]");
const words = document.getElementById("ranking-words");
const UNRANKABLE = "x";
const ORDINALS = ["First", "Second", "Third"];

const placeOf = (letter) => form.elements[`rank_${letter}`].value;
const nextOpen = () => cards.find((card) => !placeOf(card.dataset.letter));
const upper = (letter) => letter.toUpperCase();

function put(letter, place) {
  set({ [letter]: place });
}

function set(places, grade) {
  for (const [letter, place] of Object.entries(places)) form.elements[`rank_${letter}`].value = place;
  if (grade !== undefined && strength) form.elements.strength.value = grade;
  form.dispatchEvent(new Event("input", { bubbles: true }));
  show();
}

/* Of two answers, the place of one tells the other's, until somebody says otherwise. */
let guessed = "";
function putOneOfTwo(letter, place) {
  const other = letters.find((each) => each !== letter);
  const rest = { 1: "2", 2: "1" }[place];
  if (rest && (!placeOf(other) || guessed === other)) {
    guessed = other;
    set({ [letter]: place, [other]: rest });
  } else {
    guessed = "";
    put(letter, place);
  }
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
  if (strength) {
    strength.hidden = ranked.length !== 2;
    if (ranked.length !== 2) for (const radio of strength.querySelectorAll("input")) radio.checked = false;
  }
  showScale();
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

function showScale() {
  if (!scale) return;
  const places = letters.map(placeOf);
  // 1 and 3 say what 1 and 2 say
  const order = places[0] === places[1] ? "1,1" : Number(places[0]) < Number(places[1]) ? "1,2" : "2,1";
  const said = places.every((place) => place && place !== UNRANKABLE);
  for (const step of scale.querySelectorAll("button")) {
    const grade = order === "1,1" || !strength ? "" : form.elements.strength.value;
    step.setAttribute("aria-pressed", String(said && step.dataset.places === order && step.dataset.strength === grade));
  }
}

if (scale) {
  scale.hidden = false;
  scale.addEventListener("click", (event) => {
    const step = event.target.closest("button");
    if (!step) return;
    const places = step.dataset.places.split(",");
    guessed = "";
    set({ [letters[0]]: places[0], [letters[1]]: places[1] }, step.dataset.strength);
  });
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

board.append(tier("", "To place"), ...letters.map((_, i) => tier(String(i + 1), String(i + 1))));
if (hasUnrankable) board.append(tier(UNRANKABLE, "Not rankable"));
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

/* The order that was shown is asked about once; the dialog's button sends the form with the answer. */
form.addEventListener("submit", (event) => {
  const places = letters.map((letter) => Number(placeOf(letter)));
  const isShown = places.every((place, i) => place && (i === 0 || place > places[i - 1]));
  if (!unchanged || !isShown || event.submitter?.name === "confirmed") return;
  event.preventDefault();
  unchanged.showModal();
}, true);
unchanged?.addEventListener("keydown", (event) => { if (event.repeat) event.preventDefault(); }); // Enter, held too long

/* The answer that keys are about: the one in focus, or that was before a text field or button took it. */
function remember(card) {
  for (const each of cards) {
    each.classList.toggle("current", each === card);
    const failing = each.querySelector("[data-opens=file-failure]"); // its key files that answer
    if (failing && each === card) failing.dataset.key = "x";
    else failing?.removeAttribute("data-key");
  }
}
form.addEventListener("focusin", (event) => { const card = event.target.closest(".answer"); if (card) remember(card); });
const current = () => cards.find((card) => card.classList.contains("current")) ?? cards[0];

let rating = false; // after r, the next digit is a rating
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || form.inert || document.querySelector("dialog:modal")) return;
  if (event.repeat && event.key === "Enter") return event.preventDefault();
  const at = event.target;
  const radio = at.matches("input[type=radio]");
  if (at.closest("input, textarea, select, [contenteditable]") && !radio) return;
  const card = at.closest(".answer") ?? current();
  const used = rated(event, card) || shifted(event) || moved(event, card, radio) || placed(event, card) || (event.key === "Enter" && entered(at, radio));
  if (used) { event.preventDefault(); event.stopPropagation(); }
}, true);

function shifted(event) {
  const digit = /^Digit([1-3])$/.exec(event.code)?.[1];
  if (!event.shiftKey || !digit || !strength || new Set(letters.map(placeOf).filter((p) => p && p !== UNRANKABLE)).size !== 2) return false;
  set({}, digit);
  return true;
}

function rated(event, card) {
  const radios = form.elements[`rating_${card.dataset.letter}`];
  if (rating && /^[1-7]$/.test(event.key)) {
    rating = false;
    radios.value = event.key;
    form.dispatchEvent(new Event("input", { bubbles: true }));
    window.studio.toast(`Answer ${upper(card.dataset.letter)} rated ${event.key} of 7.`, "info");
    return true;
  }
  rating = event.key === "r" && Boolean(radios);
  if (rating) card.querySelector(".answer-more details").open = true;
  return rating;
}

function placed(event, card) {
  if (event.shiftKey || !/^[0-9]$/.test(event.key)) return false;
  const place = event.key === "0" ? UNRANKABLE : event.key;
  if (place === UNRANKABLE ? !hasUnrankable : Number(place) > cards.length) return false;
  if (scale) putOneOfTwo(card.dataset.letter, place);
  else put(card.dataset.letter, place);
  onward(card);
  return true;
}

function moved(event, card, radio) {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (step && !radio) {
    const here = cards.indexOf(card);
    const there = document.activeElement.closest(".answer") ? here + step : cards.indexOf(current());
    cards[(there + cards.length) % cards.length].focus();
    return true;
  }
  const named = letters.indexOf(event.key.toLowerCase());
  if (named < 0 || (!event.shiftKey && document.querySelector(`[data-key="${event.key}"]`))) return false;
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

form.addEventListener("change", (event) => {
  const letter = /^rank_(\w)$/.exec(event.target.name)?.[1];
  if (scale && letter) putOneOfTwo(letter, event.target.value);
  else show();
});
show();
if (document.activeElement === document.body) (nextOpen() ?? cards[0]).focus({ preventScroll: true });
