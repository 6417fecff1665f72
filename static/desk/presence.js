// Tells colleagues who has a conversation open and who writes, and the customer that somebody writes.
const REFRESH_MS = 10_000;
const TYPING_MS = 4_000;

export function answersPresence(first) {
  let number = first;
  let told = 0;

  const body = (doing) => new URLSearchParams({ doing });
  function tell(doing) {
    if (number) fetch(`/desk/${number}/presence`, { method: "POST", body: body(doing) }).catch(() => {});
  }
  function leave() {
    if (number) navigator.sendBeacon(`/desk/${number}/presence`, body("left"));
  }

  setInterval(() => {
    if (document.visibilityState === "visible" && Date.now() - told > REFRESH_MS) tell("viewing");
  }, REFRESH_MS);
  window.addEventListener("pagehide", leave);
  window.addEventListener("pageshow", (event) => event.persisted && tell("viewing"));
  document.addEventListener("input", (event) => {
    if (!event.target.matches?.("#desk-text") || !event.target.value) return;
    const reply = event.target.form.querySelector('input[name="mode"]:checked')?.value === "reply";
    if (!reply || Date.now() - told < TYPING_MS) return;
    told = Date.now();
    tell("replying");
  });

  return {
    /** Another conversation is open now, or none. */
    open(next) {
      if (next === number) return;
      leave();
      number = next;
      told = 0;
    },
  };
}
