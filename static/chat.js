// The customer's chat. Without it the same forms work with a page load each.
import { connection } from "./chat/connection.js";
import { messageLog } from "./chat/log.js";

const chat = document.querySelector("#chat");
const find = (selector) => chat.querySelector(selector);
const composer = find("[data-composer]");
const text = composer.elements.namedItem("text");
const count = find("[data-count]");
const typing = find("[data-typing]");
const mostChars = Number(chat.dataset.mostChars);
const log = messageLog(chat);
let standing = { status: chat.dataset.status };

const live = connection(find("[data-live]"), {
  after: log.lastSeq,
  message(message) {
    if (log.show(message) && message.author !== "customer") showTyping(false);
  },
  standing: showStanding,
  typing: (who) => showTyping(who.typing, who.author === "agent" && who.name ? who.name : "The AI assistant"),
});

// ---- what the page shows ----

let typingEnds;
function showTyping(on, who = "The AI assistant") {
  clearTimeout(typingEnds);
  typing.hidden = !on;
  if (!on) return;
  find("[data-typing-words]").textContent = `${who} is writing`;
  typingEnds = setTimeout(() => { typing.hidden = true; }, 8000);
}

function showStanding(next) {
  standing = next;
  chat.dataset.status = next.status;
  const words = find("[data-standing]");
  if (words.textContent !== next.words) words.textContent = next.words;
  find("[data-person] button").disabled = next.with_person;
  find("[data-end]").hidden = next.ended;
  find("[data-ended]").hidden = !next.ended;
  find("[data-satisfaction]").hidden = !next.asks_satisfaction;
  find("[data-thanks]").hidden = !next.ended || next.asks_satisfaction;
}

function showAnswer(answer) {
  answer.messages.forEach((message) => log.show(message));
  showTyping(false);
  showStanding(answer.standing);
  find("[data-number]").textContent = `Conversation ${answer.number}`;
  document.querySelector(".wishes")?.remove();
  if (!live.listening()) live.open();
}

// ---- sending ----

// crypto.randomUUID is only there over TLS or on this machine.
const newKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

async function post(address, fields) {
  const response = await fetch(address, {
    method: "POST",
    headers: { accept: "application/json" },
    body: new URLSearchParams(fields),
  });
  if (response.ok) return response.json();
  const problem = await response.json().catch(() => ({}));
  throw new Error(problem.errors?.[0]?.message ?? problem.detail ?? "Something went wrong on our side.");
}

// A message is sent under one key however often it is tried, so it arrives once.
function say(words, fields = {}) {
  const key = fields.client_key ?? newKey();
  const item = log.showPending(key, words);
  const attempt = async () => {
    if (standing.status === "assistant" || standing.status === "resolved") showTyping(true);
    try {
      showAnswer(await post("/chat/messages", { ...fields, text: words, client_key: key }));
    } catch (error) {
      showTyping(false);
      const reason = error instanceof TypeError ? "There is no connection." : error.message;
      log.showUnsent(item, reason, attempt);
    }
  };
  attempt();
}

composer.addEventListener("submit", (event) => {
  event.preventDefault();
  const words = text.value.trim();
  if (!words || !checkLength()) return text.focus();
  text.value = "";
  checkLength();
  say(words);
});

text.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || !matchMedia("(pointer: fine)").matches) return;
  event.preventDefault();
  composer.requestSubmit();
});

let toldAt = 0;
text.addEventListener("input", () => {
  checkLength();
  if (!live.listening() || standing.status === "assistant" || Date.now() - toldAt < 3000) return;
  toldAt = Date.now();
  fetch("/chat/typing", { method: "POST" }).catch(() => {});
});

// Says how much room is left before it is too late, and why a message that is too long is not sent.
function checkLength() {
  const length = [...text.value.trim()].length;
  const over = length - mostChars;
  text.setAttribute("aria-invalid", String(over > 0));
  count.className = over > 0 ? "field-error" : "";
  count.textContent = over > 0
    ? `This is ${over} characters too long. A message can have ${mostChars}.`
    : over > -200 ? `${-over} characters left` : "";
  return over <= 0;
}

// Wishes, answers and "change" are small forms of their own.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("[data-say]")) return;
  event.preventDefault();
  const { text: words, form_key, ...fields } = Object.fromEntries(new FormData(form));
  // The button that was pressed goes away with its form: writing goes on in the text box.
  const hadFocus = form.contains(document.activeElement);
  say(words, fields);
  if (hadFocus) text.focus({ preventScroll: true });
});

function inBackground(form, address, after = () => {}) {
  form?.addEventListener("submit", async (event) => {
    event.preventDefault();
    const fields = new URLSearchParams(new FormData(form));
    const button = form.querySelector("button:not([type=button])");
    button.disabled = true;
    try {
      showAnswer(await post(address, fields));
      after();
    } catch {
      // The plain form shows what is wrong.
      form.submit();
    } finally {
      if (!form.matches("[data-person]")) button.disabled = false;
    }
  });
}
inBackground(find("[data-person]"), "/chat/person", log.toEnd);
inBackground(find("[data-end]"), "/chat/end", log.toEnd);
inBackground(find("[data-satisfaction-form]"), "/chat/satisfaction");

if (chat.dataset.begun === "true") {
  live.open();
  if (!location.hash || location.hash === "#end") log.toEnd();
}
window.addEventListener("offline", () => { if (live.listening()) live.lost(); });
window.addEventListener("online", () => { if (live.listening()) live.open(); });
