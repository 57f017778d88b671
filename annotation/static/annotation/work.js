/* What both work screens share: guidelines beside the work, the prompt in a sheet, the way out of text fields, live counts. */
"use strict";
const WIDE = matchMedia("(min-width: 75rem)");
const REMEMBERED = "studio:guideline-open";

/* ---- Guidelines: beside the work where there is room, over it where there is none ---- */
const opener = document.querySelector("[data-docks]");
const sheet = opener && document.getElementById(opener.dataset.docks);

function dock(open) {
  if (open && WIDE.matches) sheet.show();
  else if (open) sheet.showModal();
  else sheet.close();
}

function showDock() {
  document.documentElement.classList.toggle("docked", sheet.open && !sheet.matches(":modal"));
  opener.setAttribute("aria-expanded", String(sheet.open));
}

function remember(open) {
  try { sessionStorage.setItem(REMEMBERED, open ? "yes" : ""); } catch { /* for this page only */ }
}

if (sheet) {
  sheet.addEventListener("close", () => { showDock(); remember(false); });
  opener.addEventListener("click", () => {
    const focused = document.activeElement;
    dock(!sheet.open);
    showDock();
    remember(sheet.open && !sheet.matches(":modal"));
    // Beside the work, the work keeps the keys.
    if (sheet.open && !sheet.matches(":modal")) (focused === opener ? document.querySelector(".answer") ?? opener : focused)?.focus({ preventScroll: true });
  });
  let open = "";
  try { open = sessionStorage.getItem(REMEMBERED); } catch { /* closed, then */ }
  if (open && WIDE.matches) {
    const focused = document.activeElement;
    sheet.show();
    showDock();
    if (focused && focused !== document.body) focused.focus({ preventScroll: true });
  }
}

/* ---- Texts that a sheet repeats ---- */
for (const copy of document.querySelectorAll("[data-copy-of]")) {
  copy.append(...[...document.getElementById(copy.dataset.copyOf)?.children ?? []].map((child) => child.cloneNode(true)));
}

/* ---- The prompt stays in sight: what sticks below it has to know how tall it is ---- */
const prompt = document.querySelector(".work > .prompt-box");
if (prompt) prompt.scrollTop = prompt.scrollHeight; // the turn to be answered is the last
if (prompt) new ResizeObserver(() => {
  const sticks = getComputedStyle(prompt).position === "sticky";
  prompt.parentElement.style.setProperty("--prompt-height", sticks ? `${prompt.offsetHeight}px` : "0px");
}).observe(prompt);

/* ---- Esc leaves a text field, so that keys work again; a details' summary opens by its key and takes the cursor ---- */
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || document.querySelector("dialog:modal")) return;
  if (event.target.matches("#work textarea, #work input:not([type=radio], [type=checkbox])")) {
    event.target.blur();
    document.querySelector(".answer.current")?.focus({ preventScroll: true });
  }
});
for (const details of document.querySelectorAll("details.second-look")) {
  details.querySelector("summary").addEventListener("click", (event) => {
    event.preventDefault(); // opened by itself, the field would take the cursor a moment too late
    details.open = !details.open;
    if (details.open) details.querySelector("input").focus();
  });
}

/* ---- Characters written, against what the project asks for ---- */
for (const box of document.querySelectorAll(".counted")) {
  const shown = box.querySelector("[data-count-of]");
  const field = document.getElementById(shown.dataset.countOf);
  const line = box.querySelector(".count-line");
  const count = () => {
    const n = [...field.value.trim()].length;
    shown.textContent = `${n.toLocaleString("en")} written;`;
    line.classList.toggle("unsaved", n > 0 && (n < Number(box.dataset.min) || n > Number(box.dataset.max)));
    document.getElementById("start-from")?.toggleAttribute("hidden", n > 0);
  };
  field.addEventListener("input", count);
  count();
}
