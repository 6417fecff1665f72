// The list of messages: each is shown once, in the order of its number.

/** @param {HTMLElement} chat */
export function messageLog(chat) {
  const list = chat.querySelector("[data-log]");
  const newer = chat.querySelector("[data-newer]");
  const composer = chat.querySelector(".composer");

  const nearEnd = () => list.getBoundingClientRect().bottom <= composer.getBoundingClientRect().top + 120;
  const toEnd = () => window.scrollTo({ top: document.documentElement.scrollHeight });

  // What arrives while somebody reads further up does not move the page: a button leads to it.
  function keepPlace(change, own) {
    const follow = own || nearEnd();
    change();
    if (follow) toEnd();
    else newer.hidden = false;
  }
  newer.addEventListener("click", toEnd);
  window.addEventListener("scroll", () => { if (nearEnd()) newer.hidden = true; }, { passive: true });

  function element(html) {
    const template = document.createElement("template");
    template.innerHTML = html;
    return template.content.firstElementChild;
  }

  const lastSeq = () => Math.max(0, ...[...list.querySelectorAll("[data-seq]")].map((item) => Number(item.dataset.seq)));

  // Buttons that were offered before an answer are gone with it.
  function retireChoices() {
    for (const offered of list.querySelectorAll(".choices, .summary-card form")) offered.remove();
  }

  /** Shows a message of the server: `{seq, author, client_key, html}`. Says whether it was new. */
  function show(message) {
    if (document.getElementById(`m${message.seq}`)) return false;
    const item = element(message.html);
    const pending = message.client_key && list.querySelector(`[data-pending="${CSS.escape(message.client_key)}"]`);
    if (pending) {
      pending.replaceWith(item);
      return true;
    }
    if (message.author === "customer") retireChoices();
    keepPlace(() => {
      const after = [...list.querySelectorAll("[data-seq]")].find((other) => Number(other.dataset.seq) > message.seq);
      const waiting = list.querySelector("[data-pending]");
      list.insertBefore(item, after ?? waiting ?? null);
    }, message.author === "customer");
    return true;
  }

  /** Shows the customer's own words at once, before the server has them. */
  function showPending(key, text) {
    retireChoices();
    const item = document.createElement("li");
    item.className = "message own";
    item.dataset.pending = key;
    const by = document.createElement("p");
    by.className = "message-by";
    by.innerHTML = "<b>You</b> <span data-delivery>Sending…</span>";
    const body = document.createElement("div");
    body.className = "message-body";
    const words = document.createElement("p");
    words.className = "message-text";
    words.textContent = text;
    body.append(words);
    item.append(by, body);
    keepPlace(() => list.append(item), true);
    return item;
  }

  /** Marks a message that did not go out, with a way to send it again. */
  function showUnsent(item, reason, again) {
    item.classList.add("unsent");
    item.querySelector("[data-delivery]").textContent = "Not sent.";
    item.querySelector(".unsent-note")?.remove();
    const note = document.createElement("p");
    note.className = "unsent-note";
    note.append(`${reason} `);
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button small";
    button.textContent = "Try again";
    button.addEventListener("click", () => {
      note.remove();
      item.classList.remove("unsent");
      item.querySelector("[data-delivery]").textContent = "Sending…";
      again();
    });
    note.append(button);
    keepPlace(() => item.append(note), true);
  }

  // "just now" is true for a while only.
  const told = (seconds) => seconds < 45 ? "just now"
    : seconds < 3600 ? `${Math.max(1, Math.floor(seconds / 60))} min ago`
    : seconds < 86400 ? `${Math.floor(seconds / 3600)} h ago` : null;
  setInterval(() => {
    for (const time of list.querySelectorAll("time")) {
      const words = told((Date.now() - Date.parse(time.dateTime)) / 1000);
      if (words && time.textContent !== words) time.textContent = words;
    }
  }, 20000);

  return { show, showPending, showUnsent, lastSeq, toEnd };
}
