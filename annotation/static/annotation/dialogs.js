/* Dialogs whose form comes by htmx: a form that came back with errors (422) is shown too. */
"use strict";
document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.xhr.status === 422 && event.detail.target.closest("dialog")) {
    event.detail.shouldSwap = true;
    event.detail.isError = false;
  }
});
document.addEventListener("htmx:afterSwap", (event) => {
  const form = event.detail.target.closest("dialog")?.querySelector("form");
  (form?.querySelector("[aria-invalid=true], [autofocus]") ?? form?.querySelector("select, textarea, input:not([type=hidden])"))?.focus();
});
