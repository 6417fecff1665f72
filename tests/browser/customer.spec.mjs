// A customer is helped: with a script, without one, and by a person.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { choose, lastWords, say } from "./chat.mjs";
import { signIn, startChromium, startProgram, visitor } from "./program.mjs";

let program, chromium;
before(async () => { [program, chromium] = await Promise.all([startProgram(), startChromium()]); });
after(async () => {
  await chromium?.close();
  await program?.stop();
});

/** Answers who one is, in whichever order it is asked. */
async function identify(page) {
  const answers = [[/customer number/i, "C-10023"], [/born|date of birth/i, "14 March 1988"], [/postcode/i, "10115"]];
  for (let asked = 0; asked < 3; asked += 1) {
    const words = await lastWords(page).innerText();
    const answer = answers.find(([question]) => question.test(words));
    if (!answer) return;
    await say(page, answer[1]);
  }
}

test("a customer blocks a card, asks something in between, and chooses the other card", async () => {
  const page = await visitor(chromium, program.address);
  await page.goto("/");
  await page.getByText("AI assistant").first().waitFor();
  await page.getByRole("button", { name: "Talk to a person" }).waitFor();
  await say(page, "I lost my card");
  assert.match(await lastWords(page).innerText(), /customer number/i, "nothing is disclosed before one is known");
  await say(page, "what are your opening hours?");
  assert.ok(await page.locator(".message-source a").count() > 0, "the article is cited");
  await identify(page);
  const cards = await page.locator(".choices").getByRole("button").allInnerTexts();
  assert.ok(cards.length >= 2, `which card is asked: ${cards}`);
  await choose(page, cards[0]);
  await page.locator(".summary-card").last().waitFor();
  const card = async () => (await page.locator(".summary-card").last().innerText()).match(/\d{4}/)[0];
  const first = await card();
  await say(page, "no, the other card");
  if (await page.locator(".choices").getByRole("button", { name: /\d{4}/ }).count()) await choose(page, cards[1]);
  const second = await card();
  assert.notEqual(second, first, "the correction is taken");
  await page.locator(".choices").getByRole("button").first().click();
  await page.locator(".receipt").last().waitFor();
  assert.match(await page.locator(".receipt").last().innerText(), new RegExp(second), "the corrected card is blocked");
  // A returning browser finds its conversation.
  await page.reload();
  assert.ok(await page.locator(".receipt").count() > 0);
  await page.context().close();
});

test("without a script the chat works as a form", async () => {
  const page = await visitor(chromium, program.address, { javaScriptEnabled: false });
  await page.goto("/");
  await page.getByLabel("Your message").fill("what is my balance");
  await page.getByRole("button", { name: "Send", exact: true }).click();
  await page.waitForLoadState();
  assert.match(await lastWords(page).innerText(), /customer number/i);
  await page.getByLabel("Your message").fill("C-10023");
  await page.getByRole("button", { name: "Send", exact: true }).click();
  await page.waitForLoadState();
  assert.match(await lastWords(page).innerText(), /born|birth|postcode/i);
  await page.context().close();
});

test("an agent takes over, and the customer sees it live", async () => {
  const customer = await visitor(chromium, program.address);
  await customer.goto("/");
  await say(customer, "I want to talk to a person please");
  const number = (await customer.locator("[data-number]").innerText()).match(/\S+$/)[0];
  const agent = await signIn(chromium, program.address, "agent@harbour.example");
  await agent.goto(`/desk/${number}`);
  await agent.getByRole("button", { name: "Take over", exact: true }).click();
  await agent.locator("[data-part=head]").getByText("With you").waitFor();
  await agent.locator("#desk-text").fill("Hello, this is Nora. What happened?");
  await agent.getByRole("button", { name: /Send reply/ }).click();
  await customer.locator("[data-log]").getByText("Hello, this is Nora. What happened?").waitFor();
  await customer.getByLabel("Your message").fill("My transfer did not arrive");
  await customer.getByRole("button", { name: "Send", exact: true }).click();
  await agent.locator("[data-part=messages]").getByText("My transfer did not arrive").waitFor();
  // A second agent sees the first one there.
  const colleague = await signIn(chromium, program.address, "agent2@harbour.example");
  await colleague.goto(`/desk/${number}`);
  await colleague.locator(".desk-presence").getByText("Nora Adler").waitFor();
  // Resolved with a key; then satisfaction is asked for.
  await agent.locator("body").click({ position: { x: 5, y: 5 } });
  await agent.keyboard.press("e");
  await customer.getByText("How well did we help you?").waitFor();
  await customer.getByLabel("5", { exact: false }).last().check();
  await customer.locator("[data-satisfaction-form]").getByRole("button", { name: "Send" }).click();
  await customer.getByText("Thank you for telling us.").waitFor();
  for (const page of [customer, agent, colleague]) await page.context().close();
});

test("a lost connection is visible, and a message that did not go out can be sent again", async () => {
  const page = await visitor(chromium, program.address);
  await page.goto("/");
  await say(page, "hello");
  await page.locator("[data-live][data-state=live]").waitFor();
  await page.context().setOffline(true);
  await page.locator("[data-live][data-state=reconnecting]").waitFor();
  await page.getByLabel("Your message").fill("what are the fees for a transfer abroad?");
  await page.getByRole("button", { name: "Send", exact: true }).click();
  const again = page.getByRole("button", { name: "Try again" });
  await again.waitFor();
  await page.context().setOffline(false);
  await again.click();
  await page.locator("[data-log] > li.own[data-seq]", { hasText: "fees for a transfer abroad" }).waitFor();
  await page.context().close();
});
