// The form of an application: a second press does nothing while the first is under way; printing. The server keeps a form
// that was sent twice as one application, with or without this.
for (const form of document.querySelectorAll("form[data-apply]")) {
  form.addEventListener("submit", () => {
    const button = form.querySelector("button.primary");
    // Disabled after the browser has read the form.
    setTimeout(() => {
      button.disabled = true;
      button.setAttribute("aria-busy", "true");
    });
  });
}
// Coming back with the browser's own button finds a button that works.
addEventListener("pageshow", () => {
  for (const button of document.querySelectorAll("form[data-apply] button[disabled]")) {
    button.disabled = false;
    button.removeAttribute("aria-busy");
  }
});
document.querySelector("[data-print]")?.addEventListener("click", () => window.print());
