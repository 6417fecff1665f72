// The theme: as the system says, light, dark. The choice stays in this browser.
const root = document.documentElement;
const order = ["system", "light", "dark"];

function current() {
  return root.dataset.theme ?? "system";
}

export function setTheme(theme) {
  if (theme === "system") delete root.dataset.theme;
  else root.dataset.theme = theme;
  try {
    if (theme === "system") localStorage.removeItem("candor-theme");
    else localStorage.setItem("candor-theme", theme);
  } catch {
    // Storage is switched off: the choice holds for this page.
  }
  describe();
}

function describe() {
  for (const button of document.querySelectorAll("[data-theme-switch]")) {
    const label = `Theme: ${current()}`;
    button.title = label;
    const words = button.querySelector("[data-theme-label]");
    if (words) words.textContent = label;
  }
}

export function themeSwitch() {
  describe();
  for (const button of document.querySelectorAll("[data-theme-switch]")) {
    button.addEventListener("click", () => setTheme(order[(order.indexOf(current()) + 1) % order.length]));
  }
}
