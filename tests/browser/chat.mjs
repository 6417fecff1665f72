// A customer at the chat.

const messages = (page) => page.locator("[data-log] > li[data-seq]");

/** The newest message. */
export const lastWords = (page) => messages(page).last();

/** All that the bank wrote since the customer's last message, as one text. */
export async function answer(page) {
  return messages(page).evaluateAll((shown) => {
    const own = shown.findLastIndex((message) => message.dataset.author === "customer");
    return shown.slice(own + 1).map((message) => message.innerText).join("\n");
  });
}

/** Does something that makes a message of the customer's, and waits for the answer that follows it. */
async function answered(page, doing) {
  const before = await messages(page).count();
  await doing();
  await page.waitForFunction((count) => {
    const shown = [...document.querySelectorAll("[data-log] > li[data-seq]")];
    return shown.length >= count + 2 && shown.at(-1).dataset.author !== "customer";
  }, before);
}

/** Writes a message and waits for the answer that follows it. */
export function say(page, words) {
  return answered(page, async () => {
    await page.getByLabel("Your message").fill(words);
    await page.getByRole("button", { name: "Send", exact: true }).click();
  });
}

/** Presses a button that the last message offers. */
export function choose(page, name) {
  return answered(page, () => page.locator(".choices").getByRole("button", { name }).first().click());
}
