// Hears what is new: a stream where it comes through, asking every few seconds where it does not.

const POLL_MS = 3000;
// A stream that does not open within this time is helped out by asking.
const PATIENCE_MS = 6000;
const WORDS = { live: "live", reconnecting: "reconnecting", polling: `refreshing every ${POLL_MS / 1000} s` };

/**
 * @param {HTMLElement} dot where the state is shown
 * @param {{after: () => number, message: Function, standing: Function, typing: Function}} on
 */
export function connection(dot, on) {
  let source = null;
  let poll = null;
  let patience = null;
  let state = "off";

  function show(next) {
    state = next;
    dot.hidden = false;
    dot.textContent = WORDS[next];
    dot.dataset.state = next === "live" ? "live" : "reconnecting";
    dot.classList.remove("off");
  }

  function stopPolling() {
    clearTimeout(poll);
    clearTimeout(patience);
    poll = patience = null;
  }

  async function ask() {
    try {
      const response = await fetch(`/chat/messages?after=${on.after()}`, { headers: { accept: "application/json" } });
      if (!response.ok) throw new Error(String(response.status));
      const answer = await response.json();
      answer.messages.forEach(on.message);
      on.standing(answer.standing);
      if (state !== "live") show("polling");
    } catch {
      if (state !== "live") show("reconnecting");
    }
    if (poll !== null) poll = setTimeout(ask, POLL_MS);
  }

  function waitThenPoll() {
    if (patience !== null || poll !== null) return;
    patience = setTimeout(() => {
      poll = 0;
      ask();
    }, PATIENCE_MS);
  }

  function open() {
    source?.close();
    source = new EventSource(`/chat/events?after=${on.after()}`);
    source.addEventListener("open", () => {
      stopPolling();
      show("live");
    });
    source.addEventListener("message", (event) => on.message(JSON.parse(event.data)));
    source.addEventListener("standing", (event) => on.standing(JSON.parse(event.data)));
    source.addEventListener("typing", (event) => on.typing(JSON.parse(event.data)));
    source.addEventListener("error", () => {
      if (poll === null) show("reconnecting");
      waitThenPoll();
      // The browser gives up for good on an answer that is no stream: then it is tried again here.
      if (source.readyState === EventSource.CLOSED) setTimeout(open, 2 * POLL_MS);
    });
  }

  return {
    /** Begins to listen; again from the present place when it listens already. */
    open() {
      if (state === "off") show("reconnecting");
      waitThenPoll();
      open();
    },
    /** The network is gone: a stream may take minutes to notice. */
    lost() {
      source?.close();
      show("reconnecting");
      waitThenPoll();
    },
    listening: () => source !== null,
  };
}
