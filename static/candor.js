// What every page can do with the keyboard: theme, keys, sections, command bar. Each page works without it.
import { themeSwitch } from "./office/theme-switch.js";
import { shortcuts } from "./office/shortcuts.js";
import { commandBar } from "./office/command-bar.js";

themeSwitch();
const commands = commandBar();
shortcuts({ openCommands: commands.open });

// A page with refused fields starts at their summary.
document.querySelector(".error-summary")?.focus();

// The account menu closes on Escape and on a click elsewhere.
for (const menu of document.querySelectorAll("details[data-menu]")) {
  document.addEventListener("click", (event) => {
    if (menu.open && !menu.contains(event.target)) menu.open = false;
  });
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
}

// What can hurt asks once: data-confirm says what will happen.
document.addEventListener("submit", (event) => {
  const question = event.submitter?.dataset.confirm ?? event.target.dataset.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
});

for (const button of document.querySelectorAll("[data-print]")) button.addEventListener("click", () => window.print());
