/* Behaviour of the shell, by data attributes; see docs/pages.md. Pages work without it, except for dialogs. */
"use strict";
const root = document.documentElement;

/* ---- Theme ---- */
const isDark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
function showTheme() {
  for (const button of document.querySelectorAll("[data-theme-toggle]")) button.setAttribute("aria-pressed", String(isDark()));
}
function toggleTheme() {
  root.dataset.theme = isDark() ? "light" : "dark";
  try { localStorage.setItem("theme", root.dataset.theme); } catch { /* for this page only */ }
  showTheme();
  document.dispatchEvent(new CustomEvent("studio:theme"));
}

/* ---- For charts: a token's colour as the browser resolves it now ---- */
window.studio = {
  colour(token) {
    const probe = document.createElement("i");
    probe.hidden = true;
    document.body.append(probe);
    probe.style.color = `var(${token})`;
    const colour = getComputedStyle(probe).color;
    probe.remove();
    return colour;
  },
  toast(text, level = "info") {
    const template = document.getElementById("toast-template");
    const toast = template.content.firstElementChild.cloneNode(true);
    toast.classList.add(level);
    toast.querySelector("p").textContent = text;
    document.querySelector(".toasts").append(toast);
    expire(toast);
  },
};

/* ---- Toasts: what went well leaves by itself, errors stay ---- */
function expire(toast) {
  if (toast.matches(".success, .info")) setTimeout(() => toast.matches(":hover, :focus-within") ? expire(toast) : toast.remove(), 8000);
}

/* ---- Clicks ---- */
document.addEventListener("click", async (event) => {
  const at = (selector) => event.target.closest(selector);
  let hit;
  if (at("[data-theme-toggle]")) toggleTheme();
  else if ((hit = at("[data-menu-toggle]"))) {
    const sidebar = hit.closest(".sidebar");
    const open = sidebar.toggleAttribute("data-open");
    hit.setAttribute("aria-expanded", String(open));
  } else if ((hit = at("[data-opens]"))) document.getElementById(hit.dataset.opens).showModal();
  else if ((hit = at("[data-closes]"))) hit.closest("dialog").close();
  else if ((hit = at("[data-dismiss]"))) hit.closest(".toast").remove();
  else if ((hit = at("[data-copies]"))) {
    const source = document.getElementById(hit.dataset.copies);
    try {
      await navigator.clipboard.writeText(source.value ?? source.textContent);
      window.studio.toast("Copied.", "success");
    } catch {
      getSelection().selectAllChildren(source);
      window.studio.toast("Copying was refused. The text is selected: press Ctrl+C.", "warning");
    }
  } else if (event.target instanceof HTMLDialogElement) event.target.close();
});

/* ---- Forms: a button answers at once and a form is sent once ---- */
document.addEventListener("submit", (event) => {
  if (event.defaultPrevented || event.target.method === "dialog" || event.target.matches("[hx-post], [hx-get], [data-downloads]")) return;
  if (event.target.dataset.sent) return event.preventDefault();
  event.target.dataset.sent = "yes";
  event.submitter?.setAttribute("aria-busy", "true");
  root.classList.add("busy");
});
addEventListener("pageshow", () => {
  root.classList.remove("busy");
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
  for (const button of document.querySelectorAll("[aria-busy='true']")) button.removeAttribute("aria-busy");
});
document.addEventListener("change", (event) => {
  if (event.target.closest("[data-submits]")) event.target.form.requestSubmit();
});

/* ---- [data-slug-of="id"]: an address follows the name until somebody writes one ---- */
document.addEventListener("input", (event) => {
  const slug = document.querySelector("[data-slug-of]");
  if (!slug) return;
  if (event.target === slug) delete slug.dataset.slugOf;
  else if (event.target.id === slug.dataset.slugOf) {
    slug.value = event.target.value.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "").slice(0, 50);
  }
});

/* ---- Leaving with unsaved text is asked about ---- */
addEventListener("beforeunload", (event) => {
  for (const form of document.querySelectorAll("form[data-guards]:not([data-sent])")) {
    if ([...form.elements].some((e) => "defaultValue" in e && e.type !== "hidden" && e.value !== e.defaultValue)) event.preventDefault();
  }
});

/* ---- Keys: [data-key="n"] or [data-key="g r"] is clicked (or focused) by its key, outside of text fields ---- */
let pending = "";
let pendingTimer;
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    const sidebar = document.querySelector(".sidebar[data-open]");
    if (sidebar) sidebar.querySelector("[data-menu-toggle]").click();
    return;
  }
  const mark = event.target.closest("input, textarea, select, [contenteditable]");
  const inText = mark && !["checkbox", "radio", "button"].includes(mark.type);
  if ((event.ctrlKey || event.metaKey) && event.key === "Enter") {
    const form = event.target.closest("form");
    if (form && mark) { event.preventDefault(); form.requestSubmit(form.querySelector("[type=submit], button:not([type])")); }
    return;
  }
  if (inText || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog:modal")) return;
  const sequence = pending ? `${pending} ${event.key}` : event.key;
  const find = (keys) => [...document.querySelectorAll("[data-key]")].find((e) => e.dataset.key === keys && !e.disabled);
  const target = find(sequence) ?? find(event.key);
  clearTimeout(pendingTimer);
  pending = "";
  if (target) {
    event.preventDefault();
    if (target.matches("input, textarea, select")) target.focus();
    else target.click();
  } else if ([...document.querySelectorAll("[data-key]")].some((e) => e.dataset.key.startsWith(`${event.key} `))) {
    pending = event.key;
    pendingTimer = setTimeout(() => { pending = ""; }, 1200);
  }
});

/* ---- htmx ---- */
let requests = 0;
const isPoll = (event) => event.detail.elt.matches("[data-quiet]"); // asks again by itself: no sign of activity, no toast
document.addEventListener("htmx:beforeRequest", (event) => { if (!isPoll(event)) { requests += 1; root.classList.add("busy"); } });
document.addEventListener("htmx:afterRequest", (event) => { if (!isPoll(event)) { requests -= 1; if (requests <= 0) root.classList.remove("busy"); } });
document.addEventListener("htmx:sendError", (event) => isPoll(event) || window.studio.toast("The studio cannot be reached. What you typed is still here: try again.", "error"));
document.addEventListener("htmx:responseError", (event) => {
  if (isPoll(event)) return;
  const status = event.detail.xhr.status;
  if (status === 401 || status === 403) window.studio.toast("You may not do that, or your session has ended. Sign in again in another tab, then retry.", "error");
  else if (status >= 500) window.studio.toast("The studio failed to answer. Nothing was changed: try again.", "error");
});

/* ---- What scrolls sideways can be reached and scrolled by keyboard; what fits is no extra stop ---- */
function markScrollers() {
  for (const box of document.querySelectorAll(".prose pre, .prose table, .preview, .table-wrap, pre.code, div.code, .log, .tabs, .scrolls")) {
    if (box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight + 1) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}
addEventListener("resize", markScrollers);
document.addEventListener("htmx:afterSettle", markScrollers);

showTheme();
markScrollers();
document.querySelectorAll(".toast").forEach(expire);
document.querySelector(".nav-link[aria-current]")?.scrollIntoView({ block: "nearest" });
