// Putting the server's HTML in place of what is shown, changing only what differs.

/** Puts a whole page's panes in place. `fresh`: the composer was sent, so it is renewed. */
export function putPage(desk, page, { fresh }) {
  const next = page.querySelector(".desk");
  const same = next.dataset.number && next.dataset.number === desk.dataset.number;
  for (const name of ["screen", "conversation", "number"]) {
    if (next.dataset[name] === undefined) delete desk.dataset[name];
    else desk.dataset[name] = next.dataset[name];
  }
  document.title = page.title;
  document.querySelector("main h1").textContent = page.querySelector("main h1").textContent;
  const pane = (root, name) => root.querySelector(`[data-pane="${name}"]`);
  pane(desk, "notice").innerHTML = pane(next, "notice").innerHTML;
  putList(pane(desk, "list"), pane(next, "list"));
  if (same) putThread(pane(desk, "thread"), pane(next, "thread"), fresh);
  else pane(desk, "thread").innerHTML = pane(next, "thread").innerHTML;
  pane(desk, "thread").parentElement.setAttribute("aria-label", pane(next, "thread").parentElement.getAttribute("aria-label"));
  putPerson(pane(desk, "person"), pane(next, "person"), same);
}

/** Puts one part in place, as the server answers it alone. */
export function putPart(desk, part, body) {
  const pane = desk.querySelector(`[data-pane="${part}"]`);
  if (part === "list") putList(pane, body);
  else if (part === "thread") putThread(pane, body, false);
  else putPerson(pane, body, true);
}

function putList(pane, next) {
  const dot = pane.querySelector("[data-live]");
  for (const part of pane.querySelectorAll("[data-part]")) {
    const other = next.querySelector(`[data-part="${part.dataset.part}"]`);
    if (!other) continue;
    // The search and its filters are somebody's work in progress until they are sent.
    if (part.dataset.part === "find") {
      if (part.dataset.state !== other.dataset.state || part.getAttribute("action") !== other.getAttribute("action")) replace(part, other);
    } else {
      replace(part, other);
    }
  }
  const fresh = pane.querySelector("[data-live]");
  if (dot && fresh && dot !== fresh) fresh.replaceWith(dot);
}

function putThread(pane, next, fresh) {
  for (const name of ["head", "suggestion"]) {
    const part = pane.querySelector(`[data-part="${name}"]`);
    const other = next.querySelector(`[data-part="${name}"]`);
    // A choice being made in the head is left alone until the next change.
    if (part && other && !(name === "head" && part.contains(document.activeElement) && document.activeElement.matches("select"))) replace(part, other);
  }
  const messages = pane.querySelector('[data-part="messages"]');
  const newer = next.querySelector('[data-part="messages"]');
  if (messages && newer) merge(messages, newer);
  const composer = pane.querySelector('[data-part="composer"]');
  const other = next.querySelector('[data-part="composer"]');
  if (!composer || !other) return;
  if (fresh) {
    composer.replaceWith(other);
  } else if (composer.dataset.state !== other.dataset.state) {
    keepDraft(composer, other);
    replace(composer, other);
  }
}

/** What is being written goes along into the new composer. */
function keepDraft(composer, other) {
  const from = composer.querySelector("[data-compose]").elements;
  const to = other.querySelector("[data-compose]").elements;
  for (const name of ["text", "key", "origin_kind", "origin_source", "origin_text"]) to[name].value = from[name].value;
  to.text.textContent = from.text.value;
  // Where only notes were possible, no choice was made.
  if (composer.querySelectorAll('input[name="mode"]').length < 2) return;
  const mode = other.querySelector(`input[name="mode"][value="${composer.querySelector("input[name=mode]:checked")?.value}"]`);
  if (mode) mode.checked = true;
}

function putPerson(pane, next, same) {
  const [top, open] = [pane.scrollTop, Boolean(pane.querySelector("details[open]"))];
  if (pane.innerHTML === next.innerHTML) return;
  pane.innerHTML = next.innerHTML;
  if (open && same) pane.querySelector("details")?.setAttribute("open", "");
  pane.scrollTop = same ? top : 0;
}

/** Adds, replaces and removes messages, so that what is there is not read out again. */
function merge(list, newer) {
  const keep = new Set();
  let after = null;
  for (const item of [...newer.children]) {
    const known = item.id && document.getElementById(item.id);
    let placed = item;
    if (known && list.contains(known)) {
      if (known.innerHTML !== item.innerHTML) known.innerHTML = item.innerHTML;
      placed = known;
    }
    if (after ? after.nextElementSibling !== placed : list.firstElementChild !== placed) {
      if (after) after.after(placed);
      else list.prepend(placed);
    }
    keep.add(placed);
    after = placed;
  }
  for (const item of [...list.children]) if (!keep.has(item)) item.remove();
}

/** Replaces an element; scroll and focus stay with what takes its place. */
function replace(element, other) {
  if (element.outerHTML === other.outerHTML) return;
  const focused = element.contains(document.activeElement) ? document.activeElement : null;
  const caret = focused?.selectionStart;
  const top = element.scrollTop;
  const details = element.querySelector("details[open]");
  element.replaceWith(other);
  other.scrollTop = top;
  if (details && element.dataset.state === other.dataset.state) other.querySelector("details")?.setAttribute("open", "");
  if (!focused) return;
  const twin = findTwin(focused, other);
  twin?.focus({ preventScroll: true });
  if (twin && typeof caret === "number" && twin.setSelectionRange) twin.setSelectionRange(caret, caret);
}

function findTwin(focused, other) {
  if (focused.id) return other.querySelector(`#${CSS.escape(focused.id)}`);
  for (const name of ["data-row", "data-key", "data-command", "href"]) {
    const value = focused.getAttribute(name);
    if (value) return other.querySelector(`[${name}="${CSS.escape(value)}"]`);
  }
  return null;
}
