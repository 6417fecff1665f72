// Hints from the server that something changed. When they do not come, the page reads itself again every ten seconds.
const POLL_MS = 10_000;
const GATHER_MS = 150;

export function listen({ desk, refresh, announce }) {
  let source;
  let poll = 0;
  let quiet = 0;
  let typing = 0;
  let waiting = waitingNow();
  const due = new Set();
  let running = false;

  function say(state, words) {
    const dot = desk.querySelector("[data-live]");
    if (!dot || (dot.dataset.state === state && dot.textContent === words)) return;
    dot.dataset.state = state;
    dot.textContent = words;
  }

  function waitingNow() {
    return Number(desk.querySelector(".desk-count")?.textContent ?? 0);
  }

  /** Several hints at once lead to one reading. */
  function schedule(...parts) {
    for (const part of parts) due.add(part);
    clearTimeout(quiet);
    quiet = setTimeout(read, GATHER_MS);
  }

  async function read() {
    if (running) return;
    running = true;
    let reached = true;
    while (due.size) {
      const parts = [...due];
      due.clear();
      const done = await Promise.all(parts.filter((part) => part === "list" || desk.dataset.conversation).map(refresh));
      reached = done.every(Boolean);
    }
    running = false;
    const now = waitingNow();
    if (now > waiting) announce(now === 1 ? "1 conversation waits for a person." : `${now} conversations wait for a person.`);
    waiting = now;
    if (poll) say("reconnecting", reached ? "refreshing every 10 s" : "reconnecting");
  }

  function showTyping(name) {
    const line = desk.querySelector("[data-typing]");
    if (!line) return;
    line.textContent = name ? `${name} is typing` : "";
    clearTimeout(typing);
    if (name) typing = setTimeout(() => showTyping(""), 7000);
  }

  function open(conversation) {
    source?.close();
    const events = new EventSource(conversation ? `/desk/events?conversation=${conversation}` : "/desk/events");
    source = events;
    events.addEventListener("ready", () => {
      // What happened while nobody listened is read now.
      if (poll) schedule("list", "thread", "person");
      clearInterval(poll);
      poll = 0;
      say("live", "live");
    });
    events.addEventListener("inbox", () => schedule("list"));
    events.addEventListener("thread", (event) => {
      const hint = JSON.parse(event.data);
      if (hint.kind === "typing") {
        if (hint.author === "customer") showTyping(hint.typing === false ? "" : hint.name || "The customer");
        return;
      }
      if (hint.kind === "message") showTyping("");
      schedule("thread", ...(hint.kind === "presence" ? [] : ["person"]));
    });
    events.onerror = () => {
      if (!poll) {
        say("reconnecting", "reconnecting");
        poll = setInterval(() => {
          schedule("list", "thread", "person");
          if (source.readyState === EventSource.CLOSED) open(desk.dataset.conversation);
        }, POLL_MS);
      }
    };
  }

  // Waiting times grow even when nothing happens.
  setInterval(() => document.visibilityState === "visible" && schedule("list"), 60_000);
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && schedule("list", "thread"));
  window.addEventListener("pagehide", () => source?.close());
  window.addEventListener("pageshow", (event) => event.persisted && open(desk.dataset.conversation));
  return { open };
}
