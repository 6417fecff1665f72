// Keys of the page. A page declares its own: any element with data-key="j" and data-key-label="Next conversation" is
// clicked (or focused, when it is a field) by that key, and is listed by "?". Sections carry data-go="d" for "g d".
const typing = (target) =>
  target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));

function act(element) {
  if (/^(INPUT|TEXTAREA|SELECT)$/.test(element.tagName)) {
    element.focus();
    element.select?.();
  } else {
    element.click();
  }
}

// j and k walk through the rows of a list, where the page does not use these keys itself.
function walk(step) {
  const rows = [...document.querySelectorAll("main .row-link")];
  if (!rows.length || document.querySelector('[data-key="j"]')) return false;
  const at = rows.indexOf(document.activeElement);
  rows[at < 0 ? (step > 0 ? 0 : rows.length - 1) : Math.min(Math.max(at + step, 0), rows.length - 1)].focus();
  return true;
}

function keyList() {
  const keys = [["?", "This list"], ["Ctrl K", "Command bar: go anywhere, do anything"]];
  if (document.querySelector("[data-search]")) keys.push(["/", "Search"]);
  for (const link of document.querySelectorAll("[data-go]")) keys.push([`g ${link.dataset.go}`, `Go to ${link.textContent.trim()}`]);
  if (document.querySelector("main .row-link") && !document.querySelector('[data-key="j"]')) {
    keys.push(["j", "Next row"], ["k", "Row before"], ["Enter", "Open the row"]);
  }
  const seen = new Set();
  for (const element of document.querySelectorAll("[data-key]")) {
    if (seen.has(element.dataset.key)) continue;
    seen.add(element.dataset.key);
    keys.push([element.dataset.key, element.dataset.keyLabel ?? element.textContent.trim()]);
  }
  return keys;
}

function openKeys() {
  document.querySelector("dialog.keys-dialog")?.remove();
  const dialog = document.createElement("dialog");
  dialog.className = "keys-dialog";
  dialog.setAttribute("aria-labelledby", "keys-title");
  const head = document.createElement("div");
  head.className = "dialog-head";
  const title = Object.assign(document.createElement("h2"), { id: "keys-title", textContent: "Keys of this page" });
  const close = Object.assign(document.createElement("button"), { type: "button", className: "button quiet small", textContent: "Close" });
  close.addEventListener("click", () => dialog.close());
  head.append(title, close);
  const list = document.createElement("dl");
  list.className = "keys dialog-body";
  for (const [key, label] of keyList()) {
    const term = document.createElement("dt");
    key.split(" ").forEach((part, index) => {
      if (index) term.append(" ");
      term.append(Object.assign(document.createElement("kbd"), { textContent: part }));
    });
    list.append(term, Object.assign(document.createElement("dd"), { textContent: label }));
  }
  dialog.append(head, list);
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

export function shortcuts({ openCommands }) {
  let going = 0;
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented) return;
    if ((event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === "k") {
      event.preventDefault();
      openCommands();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target) || document.querySelector("dialog[open]")) return;
    if (going && Date.now() - going < 1500) {
      going = 0;
      const link = document.querySelector(`[data-go="${CSS.escape(event.key)}"]`);
      if (link) {
        event.preventDefault();
        link.click();
      }
      return;
    }
    going = 0;
    if (event.key === "?") {
      event.preventDefault();
      openKeys();
    } else if (event.key === "g" && document.querySelector("[data-go]")) {
      going = Date.now();
    } else if ((event.key === "j" || event.key === "k") && walk(event.key === "j" ? 1 : -1)) {
      event.preventDefault();
    } else {
      const search = event.key === "/" ? document.querySelector("[data-search]") : null;
      const element = search ?? document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
      if (!element) return;
      event.preventDefault();
      act(element);
    }
  });
}
