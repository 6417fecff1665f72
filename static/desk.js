// The desk without reloading: panes are fetched as the server's HTML and put in place; what is typed, focused or scrolled
// stays. Every link and form here works without this script too.
import { answersPresence } from "./desk/presence.js";
import { composer } from "./desk/composer.js";
import { listen } from "./desk/live.js";
import { putPage, putPart } from "./desk/panes.js";

const desk = document.querySelector(".desk");
const announcer = desk.querySelector("[data-announce]");
const announce = (words) => (announcer.textContent = words);

/** Gets a page or sends a form; answers with the document and its address, or nothing when it could not be reached. */
async function load(url, options = {}) {
  let response;
  try {
    response = await fetch(url, { headers: { accept: "text/html" }, credentials: "same-origin", ...options });
  } catch {
    return undefined;
  }
  if (new URL(response.url).pathname === "/sign-in") location.assign(response.url);
  const document = new DOMParser().parseFromString(await response.text(), "text/html");
  return { document, url: response.url, ok: response.ok };
}

let visiting = 0;

/** Shows the page behind a link or a form. */
async function visit(url, { options, push = true, form } = {}) {
  const visit = ++visiting;
  desk.setAttribute("aria-busy", "true");
  const page = await load(url, options);
  if (visit === visiting) desk.removeAttribute("aria-busy");
  if (!page) return refuse("No connection. Nothing was sent, and what you wrote is kept. Please try again.");
  // An answer that is no desk, such as an error's page, is shown as it is.
  if (!page.document.querySelector(".desk")) return location.assign(options ? location.href : url);
  if (visit !== visiting && !form) return undefined;
  const before = desk.dataset.conversation;
  const composed = Boolean(form?.matches("[data-compose]"));
  if (composed && page.ok) write.sent();
  putPage(desk, page.document, { fresh: composed });
  const address = new URL(page.url);
  address.searchParams.delete("done");
  const target = new URL(url, location.href).hash;
  if (push && page.ok) history.pushState(null, "", address.pathname + address.search + target);
  else if (page.ok) history.replaceState(null, "", address.pathname + address.search + target);
  if (before !== desk.dataset.conversation) {
    live.open(desk.dataset.conversation);
    present.open(desk.dataset.number);
  }
  write.restore();
  if (target) point(document.querySelector(target));
  return page.ok;
}

/** Says above the thread what went wrong. */
function refuse(words) {
  const notice = document.createElement("div");
  notice.className = "notice danger row";
  notice.setAttribute("role", "alert");
  notice.textContent = words;
  desk.querySelector('[data-pane="notice"]').replaceChildren(notice);
  return false;
}

/** Reads one part of the page again. */
async function refresh(part) {
  const url = new URL(location.href);
  url.searchParams.set("part", part);
  const conversation = desk.dataset.conversation;
  const page = await load(url);
  if (!page?.ok || conversation !== desk.dataset.conversation || new URL(page.url).pathname !== location.pathname) return false;
  putPart(desk, part, page.document.body);
  return true;
}

/** Brings a message into view and marks it. */
function point(message) {
  if (!message) return;
  for (const other of desk.querySelectorAll(".pointed")) other.classList.remove("pointed");
  message.classList.add("pointed");
  message.scrollIntoView({ block: "center" });
}

const write = composer({ desk, announce });
const present = answersPresence(desk.dataset.number);
const live = listen({ desk, refresh, announce });
live.open(desk.dataset.conversation);
write.restore();

desk.addEventListener("click", (event) => {
  if (event.defaultPrevented || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  const link = event.target.closest('a[href^="/desk"]');
  if (!link) return;
  event.preventDefault();
  if (link.matches("[data-step]")) return step(Number(link.dataset.step));
  if (link.matches("[data-insert]")) return write.insertSuggestion(link);
  const message = link.dataset.message && document.getElementById(link.dataset.message);
  if (message?.offsetParent) return point(message);
  visit(link.href).then(() => settle(link));
});

desk.addEventListener("submit", (event) => {
  if (event.defaultPrevented) return;
  const form = event.target;
  event.preventDefault();
  if (form.matches(".desk-canned")) return write.insertCanned(form.elements.canned);
  const fields = new URLSearchParams(new FormData(form, event.submitter));
  if (form.method === "get") {
    for (const [name, value] of [...fields]) if (!value) fields.delete(name);
    return visit(`${new URL(form.action).pathname}?${fields}`);
  }
  if (form.getAttribute("aria-busy")) return;
  form.setAttribute("aria-busy", "true");
  const composing = form.matches("[data-compose]");
  visit(form.action, { options: { method: "POST", body: fields }, form }).then(() => {
    form.removeAttribute("aria-busy");
    if (composing) desk.querySelector("#desk-text")?.focus();
    else settle(event.submitter, form.action);
  });
});

// The filters close on Escape and on a click elsewhere.
document.addEventListener("click", (event) => {
  const filters = desk.querySelector(".desk-filters[open]");
  if (filters && !filters.contains(event.target)) filters.open = false;
});
desk.addEventListener("keydown", (event) => {
  const filters = event.target.closest(".desk-filters[open]");
  if (event.key !== "Escape" || !filters) return;
  filters.open = false;
  filters.querySelector("summary").focus();
});

window.addEventListener("popstate", () => visit(location.href, { push: false }));

/** Puts the focus where one goes on, when what had it is gone. */
function settle(before, action = "") {
  if (document.activeElement !== document.body && document.activeElement !== before) return;
  const row = before?.dataset.row && desk.querySelector(`[data-row="${before.dataset.row}"]`);
  if (row?.offsetParent) row.focus({ preventScroll: true });
  else if (/\/(take|take-next|reopen|undo-resolve)$/.test(action)) desk.querySelector("#desk-text")?.focus();
  else desk.querySelector(".desk-log")?.focus({ preventScroll: true });
}

/** Moves through the list with j and k; Enter opens the row, as it does with any link. */
function step(by) {
  const rows = [...desk.querySelectorAll("[data-row]")];
  if (!rows.length) return;
  const at = rows.indexOf(document.activeElement.closest?.("[data-row]"));
  const from = at >= 0 ? at : rows.findIndex((row) => row.hasAttribute("aria-current"));
  const row = rows[Math.min(Math.max(from + by, 0), rows.length - 1)];
  row.focus();
  row.scrollIntoView({ block: "nearest" });
}
