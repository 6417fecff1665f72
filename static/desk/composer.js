// The composer: drafts that survive, the suggestion, canned responses after a slash, Ctrl+Enter.

export function composer({ desk, announce }) {
  const text = () => desk.querySelector("#desk-text");
  const form = () => desk.querySelector("[data-compose]");
  const draftKey = () => `candor-draft-${desk.dataset.number}`;

  /** Puts words where the cursor is, or in place of what `from` to `to` covers. */
  function insert(words, origin, from, to) {
    const field = text();
    if (!field) return;
    const reply = form().querySelector('input[name="mode"][value="reply"]');
    if (reply) reply.checked = true;
    const start = from ?? field.selectionStart;
    field.setRangeText(words, start, to ?? field.selectionEnd, "end");
    for (const [name, value] of Object.entries(origin)) form().elements[`origin_${name}`].value = value;
    field.focus();
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }

  function keep() {
    try {
      const field = text();
      if (field?.value) sessionStorage.setItem(draftKey(), field.value);
      else sessionStorage.removeItem(draftKey());
    } catch {
      // Storage is switched off: the draft lives as long as the page.
    }
  }

  desk.addEventListener("input", (event) => {
    if (!event.target.matches("#desk-text")) return;
    // An emptied field is a new answer: it no longer comes from a suggestion.
    if (!event.target.value) for (const name of ["kind", "source", "text"]) form().elements[`origin_${name}`].value = "";
    keep();
    menu.show(event.target);
  });
  desk.addEventListener("keydown", (event) => {
    if (!event.target.matches("#desk-text")) return;
    if (menu.key(event)) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      const mode = form().querySelector('input[name="mode"]:checked')?.value ?? "note";
      form().requestSubmit(form().querySelector(`button[name="kind"][value="${mode}"]`));
    } else if (event.key === "Escape") {
      event.target.blur();
    }
  });
  desk.addEventListener("focusout", (event) => event.target.matches("#desk-text") && setTimeout(menu.hide, 150));
  desk.addEventListener("click", (event) => {
    if (event.target.closest(".desk-modes label")) setTimeout(() => text()?.focus());
  });

  const menu = shortcuts({ desk, insert, announce });

  return {
    /** A draft that was begun earlier comes back into an empty composer. */
    restore() {
      try {
        const field = text();
        const draft = field && !field.value && sessionStorage.getItem(draftKey());
        if (draft) field.value = draft;
      } catch {
        // As above.
      }
    },
    sent() {
      try {
        sessionStorage.removeItem(draftKey());
      } catch {
        // As above.
      }
    },
    insertSuggestion(link) {
      const words = desk.querySelector("[data-part=suggestion] [data-text]").textContent;
      const field = text();
      insert(words, { kind: link.dataset.kind, source: link.dataset.source, text: words }, 0, field.value.length);
    },
    insertCanned(select) {
      const option = select.selectedOptions[0];
      if (!option?.value) return;
      insert(option.dataset.text, { kind: "canned", source: option.value, text: option.dataset.text });
      select.value = "";
    },
  };
}

/** The list that a slash opens. */
function shortcuts({ desk, insert, announce }) {
  let list;
  let chosen = 0;
  let found = [];
  let start = 0;

  function hide() {
    list?.remove();
    list = undefined;
    const field = desk.querySelector("#desk-text");
    for (const name of ["aria-activedescendant", "aria-controls"]) field?.removeAttribute(name);
  }

  function show(field) {
    const typed = /(?:^|\s)\/([a-z0-9-]*)$/.exec(field.value.slice(0, field.selectionStart));
    const options = [...desk.querySelectorAll("#desk-canned option[data-text]")];
    found = typed ? options.filter((option) => option.value.startsWith(typed[1]) || (typed[1] && option.textContent.toLowerCase().includes(typed[1]))).slice(0, 8) : [];
    if (!found.length) return hide();
    start = field.selectionStart - typed[1].length - 1;
    chosen = 0;
    if (!list) announce(`${found.length} canned responses. Arrow keys choose, Enter inserts.`);
    draw(field);
  }

  function draw(field) {
    list?.remove();
    list = Object.assign(document.createElement("ul"), { className: "desk-shortcuts", id: "desk-shortcuts" });
    list.setAttribute("role", "listbox");
    list.setAttribute("aria-label", "Canned responses");
    found.forEach((option, index) => {
      const item = Object.assign(document.createElement("li"), { id: `desk-shortcut-${index}`, textContent: `/${option.value}  ${option.dataset.text}` });
      item.setAttribute("role", "option");
      item.setAttribute("aria-selected", String(index === chosen));
      item.addEventListener("mousedown", (event) => {
        event.preventDefault();
        take(field, option);
      });
      list.append(item);
    });
    field.setAttribute("aria-controls", "desk-shortcuts");
    field.setAttribute("aria-activedescendant", `desk-shortcut-${chosen}`);
    desk.querySelector(".desk-composer").append(list);
  }

  function take(field, option) {
    const end = field.selectionStart;
    hide();
    insert(option.dataset.text, { kind: "canned", source: option.value, text: option.dataset.text }, start, end);
  }

  return {
    show,
    hide,
    /** Whether the key was for the list. */
    key(event) {
      if (!list || event.ctrlKey || event.metaKey) return false;
      if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        chosen = (chosen + (event.key === "ArrowDown" ? 1 : found.length - 1)) % found.length;
        draw(event.target);
      } else if (event.key === "Enter" || event.key === "Tab") {
        take(event.target, found[chosen]);
      } else if (event.key === "Escape") {
        hide();
      } else {
        return false;
      }
      event.preventDefault();
      return true;
    },
  };
}
