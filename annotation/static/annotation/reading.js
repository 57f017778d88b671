/* Reading answers side by side: long ones fold to one height, all together; what differs is marked when asked for. */
"use strict";
const box = document.querySelector(".answers");
const cards = [...box.querySelectorAll(".answer")];
const textOf = (card) => card.querySelector(".answer-text");
const letterOf = (card) => card.dataset.letter.toUpperCase();

/* ---- Fold ---- */
const fold = document.getElementById("fold");
const LIMIT = 30; // rem, the same as in annotation.css

function setFolded(folded) {
  box.classList.toggle("folded", folded);
  fold.setAttribute("aria-expanded", String(!folded));
  fold.querySelector("span").textContent = folded ? "Show all of every answer" : "Fold long answers";
}

const limit = LIMIT * parseFloat(getComputedStyle(document.documentElement).fontSize);
const long = cards.filter((card) => textOf(card).scrollHeight > limit * 1.15); // a little over is no reason to fold
for (const card of long) card.classList.add("long");
if (long.length) {
  fold.hidden = false;
  setFolded(true);
  fold.addEventListener("click", () => setFolded(!box.classList.contains("folded")));
}

/* ---- Differences ---- */
const button = document.getElementById("differences");
const words = document.getElementById("differences-words");
const WORD = /[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu;
const CELLS = 9_000_000; // of the table of common subsequences; longer answers are compared by their neighbours
let shown = null; // [card, card]
button.hidden = cards.length < 2;

/** Every word of an answer with the text node it stands in. */
function wordsOf(card) {
  const found = [];
  const walker = document.createTreeWalker(textOf(card), NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    for (const match of node.data.matchAll(WORD)) {
      found.push({ node, start: match.index, end: match.index + match[0].length, word: match[0] });
    }
  }
  return found;
}

/** Marks `.same` on the words of a longest common subsequence. */
function align(a, b) {
  let from = 0;
  while (from < a.length && from < b.length && a[from].word === b[from].word) { a[from].same = b[from].same = true; from += 1; }
  let endA = a.length, endB = b.length;
  while (endA > from && endB > from && a[endA - 1].word === b[endB - 1].word) { endA -= 1; endB -= 1; a[endA].same = b[endB].same = true; }
  const n = endA - from, m = endB - from;
  if (!n || !m) return;
  if ((n + 1) * (m + 1) > CELLS) return neighbours(a.slice(from, endA), b.slice(from, endB));
  const length = new Uint16Array((n + 1) * (m + 1)); // length[i][j]: of the tails from i and j on
  for (let i = n - 1; i >= 0; i -= 1) {
    for (let j = m - 1; j >= 0; j -= 1) {
      length[i * (m + 1) + j] = a[from + i].word === b[from + j].word
        ? length[(i + 1) * (m + 1) + j + 1] + 1
        : Math.max(length[(i + 1) * (m + 1) + j], length[i * (m + 1) + j + 1]);
    }
  }
  for (let i = 0, j = 0; i < n && j < m;) {
    if (a[from + i].word === b[from + j].word) { a[from + i].same = b[from + j].same = true; i += 1; j += 1; }
    else if (length[(i + 1) * (m + 1) + j] >= length[i * (m + 1) + j + 1]) i += 1;
    else j += 1;
  }
}

/** For very long answers: a word is the same where the other answer has it between the same neighbours. */
function neighbours(a, b) {
  const around = (list, i) => [list[i - 1]?.word, list[i].word, list[i + 1]?.word].join(" ");
  const inA = new Set(a.map((_, i) => around(a, i))), inB = new Set(b.map((_, i) => around(b, i)));
  a.forEach((each, i) => { each.same = inB.has(around(a, i)); });
  b.forEach((each, i) => { each.same = inA.has(around(b, i)); });
}

/** Wraps runs of words that are not the same; from the back, so that earlier positions stay true. */
function mark(list) {
  const runs = [];
  for (const each of list) {
    const last = runs.at(-1);
    if (each.same) runs.push(null);
    else if (last && last.node === each.node) last.end = each.end;
    else runs.push({ node: each.node, start: each.start, end: each.end });
  }
  for (const run of runs.filter(Boolean).reverse()) {
    const range = document.createRange();
    range.setStart(run.node, run.start);
    range.setEnd(run.node, run.end);
    const wrap = document.createElement("mark");
    wrap.className = "differs";
    range.surroundContents(wrap);
  }
  return list.filter((each) => !each.same).length;
}

function clear() {
  for (const wrap of box.querySelectorAll("mark.differs")) {
    const parent = wrap.parentNode;
    wrap.replaceWith(...wrap.childNodes);
    parent.normalize();
  }
  shown = null;
  words.textContent = "";
  button.setAttribute("aria-pressed", "false");
}

function compare(one, other) {
  clear();
  const a = wordsOf(one), b = wordsOf(other);
  align(a, b);
  const inOne = mark(a), inOther = mark(b);
  shown = [one, other];
  button.setAttribute("aria-pressed", "true");
  if (long.length) setFolded(false);
  words.textContent = inOne + inOther
    ? `Marked: ${inOne} words of ${letterOf(one)} that ${letterOf(other)} has not, and ${inOther} the other way round.`
    : `${letterOf(one)} and ${letterOf(other)} are the same, word for word.`;
}

button.addEventListener("click", () => {
  const current = box.querySelector(".answer.current") ?? cards[0];
  const others = [...cards.slice(cards.indexOf(current) + 1), ...cards.slice(0, cards.indexOf(current))];
  const next = shown?.[0] === current ? others[others.indexOf(shown[1]) + 1] : others[0];
  if (next) compare(current, next);
  else clear();
  current.focus({ preventScroll: true });
});
