// Every flow of the dialogue in the browser, each with a correction in it, with the shipped models.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { answer, choose, say } from "./chat.mjs";
import { startChromium, startProgram, visitor } from "./program.mjs";

let program, chromium;
before(async () => { [program, chromium] = await Promise.all([startProgram(), startChromium()]); });
after(async () => {
  await chromium?.close();
  await program?.stop();
});

const who = ["C-10023", "14 March 1988", "10115"];
const wrongBirthday = ["C-10023", "24 March 1988", "sorry, I meant 14 March 1988", "10115"];
const wrongNumber = ["C-10032", "14.03.1988", "oh no, my customer number is C-10023", "10115"];

/**
 * `says`: what the customer writes, in order; a pattern instead of words presses the first button that it fits.
 * `then`: what the bank's last answer holds, `never`: what it must not hold. All are one customer, so the address comes last.
 */
const conversations = [
  { flow: "balance", says: ["what is my balance", ...wrongBirthday], then: /Everyday account: €/ },
  { flow: "recent_payments", says: ["show me my last payments", ...wrongNumber], then: /latest payments:.*€\d/s },
  { flow: "card_arrival", says: ["when will my new card arrive", ...wrongBirthday], then: /card/i },
  { flow: "identify", says: ["balance please", "C-10023", "24 March 1988", "no, I was born on 14 March 1988", "10115"], then: /found your records/ },
  { flow: "talk_to_human", says: ["what is my balance", "C-10032", "no, my customer number is C-10023", "I want to talk to a person"], then: /colleague/ },
  { flow: "block_card", says: ["I lost my card", ...who, /\d{4}/, "no, the other card", /Yes/], then: /blocked/i },
  {
    flow: "complaint",
    says: ["I want to make a complaint", "the branch kept me waiting for two hours", "an apology", "maya@mail.example", "sorry, my email is maya.l@mail.example", /Yes/],
    then: /complaint/i,
    never: /maya@mail/,
  },
  {
    flow: "dispute_charge",
    says: ["I want to dispute a charge", ...who, /€/, "I was charged too much", "sorry, I meant it never arrived", "The parcel was never delivered", /Yes/],
    then: /dispute D-\d+ .*is open/,
  },
  { flow: "transaction_status", says: ["where is my transfer", ...wrongBirthday, /€/], then: /€/ },
  {
    flow: "loan_apply",
    says: ["loan application please", ...who, "5000", "24 months", "actually make it 6000 euros", "wedding", "2600", "employed full time",
      "I rent a flat", "5 years", "no", "+49 151 1112223", /Yes/],
    then: /We have your application/,
  },
  { flow: "loan_status", says: ["what is the status of my loan application", ...wrongNumber], then: /Your application \d+ for €6,000/ },
  {
    flow: "change_contact",
    says: ["I moved, please change my address", ...who, "Rosenweg 7", "Potsdam", "14476", "no, the postcode is 14467", /Yes/],
    then: /14467/,
    never: /14476/,
  },
];

for (const { flow, says, then, never } of conversations) {
  test(`${flow}, with a correction`, async () => {
    const page = await visitor(chromium, program.address);
    await page.goto("/");
    for (const words of says) {
      if (words instanceof RegExp) await choose(page, words);
      else await say(page, words);
    }
    const said = await answer(page);
    assert.match(said, then, `${flow} ends with:\n${said}`);
    if (never) assert.doesNotMatch(said, never);
    await page.context().close();
  });
}
