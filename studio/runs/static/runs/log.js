/* A log that grows stays at its end, unless the reader has scrolled up. */
"use strict";

for (const log of document.querySelectorAll("[data-follows-end]")) {
  const atEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 24;
  let follows = true;
  log.scrollTop = log.scrollHeight;
  log.addEventListener("htmx:beforeSwap", () => { follows = atEnd(); });
  log.addEventListener("htmx:afterSwap", () => { if (follows) log.scrollTop = log.scrollHeight; });
}
