// The command bar: every section, link of the page's head and element with data-command, found by typing.
import { setTheme } from "./theme-switch.js";

function collect() {
  const commands = [];
  const seen = new Set();
  const add = (label, kind, run) => {
    const key = `${kind}:${label}`;
    if (!label || seen.has(key)) return;
    seen.add(key);
    commands.push({ label, kind, run });
  };
  for (const element of document.querySelectorAll("[data-command]")) {
    add(element.dataset.command || element.textContent.trim(), "do", () => {
      if (/^(INPUT|TEXTAREA|SELECT)$/.test(element.tagName)) element.focus();
      else element.click();
    });
  }
  for (const link of document.querySelectorAll(".bar nav a, .bar .menu-items a, .tabs a, main .page-head a, main .row-link")) {
    add(link.textContent.trim().replace(/\s+/g, " "), "go to", () => link.click());
  }
  for (const theme of ["system", "light", "dark"]) add(`Theme: ${theme}`, "do", () => setTheme(theme));
  return commands;
}

const matches = (label, words) => words.every((word) => label.toLowerCase().includes(word));

export function commandBar() {
  let dialog;

  function open() {
    if (dialog?.open) return;
    const commands = collect();
    let shown = commands;
    let chosen = 0;
    dialog = document.createElement("dialog");
    dialog.className = "command-dialog";
    dialog.setAttribute("aria-label", "Command bar");
    const input = Object.assign(document.createElement("input"), { type: "text", placeholder: "Go to or do …", autocomplete: "off" });
    for (const [name, value] of Object.entries({ role: "combobox", "aria-label": "Command", "aria-expanded": "true", "aria-controls": "command-list", "aria-autocomplete": "list" })) input.setAttribute(name, value);
    const list = Object.assign(document.createElement("ul"), { id: "command-list", className: "command-list" });
    list.setAttribute("role", "listbox");
    list.setAttribute("aria-label", "Commands");

    const run = (command) => {
      dialog.close();
      command?.run();
    };
    const draw = () => {
      list.replaceChildren(
        ...shown.slice(0, 50).map((command, index) => {
          const item = document.createElement("li");
          item.id = `command-${index}`;
          item.setAttribute("role", "option");
          item.setAttribute("aria-selected", String(index === chosen));
          item.append(Object.assign(document.createElement("span"), { textContent: command.label }), Object.assign(document.createElement("small"), { textContent: command.kind }));
          item.addEventListener("click", () => run(command));
          return item;
        }),
      );
      if (!shown.length) list.append(Object.assign(document.createElement("li"), { textContent: "Nothing here has that name." }));
      if (shown.length) input.setAttribute("aria-activedescendant", `command-${chosen}`);
      else input.removeAttribute("aria-activedescendant");
      list.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: "nearest" });
    };
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      shown = commands.filter((command) => matches(`${command.kind} ${command.label}`, words));
      chosen = 0;
      draw();
    });
    input.addEventListener("keydown", (event) => {
      const count = Math.min(shown.length, 50);
      if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        event.preventDefault();
        if (count) chosen = (chosen + (event.key === "ArrowDown" ? 1 : count - 1)) % count;
        draw();
      } else if (event.key === "Enter") {
        event.preventDefault();
        run(shown[chosen]);
      }
    });
    dialog.append(input, list);
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close();
    });
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    draw();
    dialog.showModal();
    input.focus();
  }

  for (const button of document.querySelectorAll("[data-open-commands]")) button.addEventListener("click", open);
  return { open };
}
