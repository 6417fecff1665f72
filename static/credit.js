// The officers' pages: news of the queue, the count of chosen reasons, j and k, printing. Everything works without it.
const dot = document.querySelector("[data-credit-live]");
const news = document.querySelector("[data-credit-news]");

if (dot && news) {
  let arrived = 0;
  let changed = 0;
  const source = new EventSource("/credit/events");
  const say = (state, words) => {
    dot.dataset.state = state;
    dot.textContent = words;
  };
  const tell = () => {
    const parts = [];
    if (arrived) parts.push(arrived === 1 ? "1 new application" : `${arrived} new applications`);
    if (changed) parts.push(changed === 1 ? "1 changed" : `${changed} changed`);
    news.replaceChildren(`${parts.join(", ")}. `);
    const link = Object.assign(document.createElement("a"), { href: location.href, textContent: "Show" });
    news.append(link);
    news.hidden = false;
  };
  source.addEventListener("open", () => say("on", "live"));
  source.addEventListener("error", () => say("reconnecting", "reconnecting"));
  source.addEventListener("arrived", () => { arrived += 1; tell(); });
  for (const kind of ["decided", "assigned"]) source.addEventListener(kind, () => { changed += 1; tell(); });
  addEventListener("pagehide", () => source.close());
}

// j and k walk through the rows of a table.
const rows = [...document.querySelectorAll("a[data-row]")];
document.addEventListener("keydown", (event) => {
  if (!rows.length || event.ctrlKey || event.metaKey || event.altKey || !["j", "k"].includes(event.key)) return;
  if (/^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) || document.querySelector("dialog[open]")) return;
  const at = rows.indexOf(document.activeElement);
  const next = event.key === "j" ? Math.min(at + 1, rows.length - 1) : Math.max(at - 1, 0);
  rows[next].focus();
  event.preventDefault();
});

// How many reasons are chosen, beside the closed list of them.
const chosen = document.querySelector("[data-chosen]");
if (chosen) {
  const form = chosen.closest("form");
  const count = () => {
    const reasons = form.querySelectorAll("input[name=codes]:checked").length;
    const documents = form.querySelectorAll("input[name=documents]:checked").length;
    chosen.textContent = `${reasons} ${reasons === 1 ? "reason" : "reasons"}, ${documents} ${documents === 1 ? "document" : "documents"} chosen`;
  };
  form.addEventListener("change", count);
  count();
}

document.querySelector("[data-print]")?.addEventListener("click", () => window.print());
