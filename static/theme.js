// Runs before the page is painted, so that a chosen theme does not flash. Without a choice the system's rules.
(() => {
  const root = document.documentElement;
  root.classList.add("scripted");
  try {
    const theme = localStorage.getItem("candor-theme");
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  } catch {
    // Storage is switched off: the system's preference stays in force.
  }
})();
