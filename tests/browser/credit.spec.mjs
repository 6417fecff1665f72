// An application on its whole way: applied for, declined with reasons, the letter, the repeated score.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { signIn, startChromium, startProgram, visitor } from "./program.mjs";

let program, chromium;
before(async () => { [program, chromium] = await Promise.all([startProgram(), startChromium()]); });
after(async () => {
  await chromium?.close();
  await program?.stop();
});

async function apply(page) {
  await page.goto("/apply");
  await page.getByRole("button", { name: /Begin/ }).click();
  const goOn = () => page.getByRole("button", { name: "Go on" }).click();
  // What is wrong is named at the top, and what was typed stays.
  await page.getByLabel("How much would you like to borrow?").fill("much");
  await goOn();
  await page.getByRole("link", { name: /amount|number|500/i }).first().waitFor();
  assert.equal(await page.getByLabel("How much would you like to borrow?").inputValue(), "much");
  await page.getByLabel("How much would you like to borrow?").fill("9000");
  await page.getByLabel("Over how many months?").fill("48");
  await page.getByLabel("A car").check();
  await goOn();
  await page.getByLabel("Full name").fill("Grace Moreau");
  await page.getByLabel("Day").fill("9");
  await page.getByLabel("Month", { exact: true }).fill("12");
  await page.getByLabel("Year", { exact: true }).fill("1991");
  await goOn();
  await page.getByLabel("E-mail address").fill("grace.moreau@post.example");
  await page.getByLabel("Mobile number").fill("+49 151 23456789");
  await goOn();
  await page.getByLabel("Street and house number").fill("Kai 3");
  await page.getByLabel("Postcode").fill("20457");
  await page.getByLabel("Town").fill("Hamburg");
  await page.locator("#months_at_address-years").fill("0");
  await page.locator("#months_at_address-months").fill("4");
  await goOn();
  await page.getByLabel("Employed", { exact: true }).check();
  await page.getByLabel("Yearly income before tax").fill("31000");
  await goOn();
  await page.getByLabel("Tenant").check();
  await page.getByLabel("Direct debit").check();
  await goOn();
  await page.getByRole("heading", { name: "Check your answers" }).waitFor();
  await page.getByRole("button", { name: "Send the application" }).click();
  await page.waitForURL("**/apply/status/**");
  const facts = await page.locator(".facts").innerText();
  return facts.match(/Reference\s+(\S+)/)[1];
}

test("a customer applies, an officer declines with reasons, the letter names them, an auditor repeats the score", async () => {
  const customer = await visitor(chromium, program.address);
  const number = await apply(customer);
  const status = customer.url();

  const officer = await signIn(chromium, program.address, "senior@harbour.example");
  await officer.goto(`/credit?status=all&q=${encodeURIComponent(number)}`);
  await officer.locator("a.row-link").first().click();
  await officer.getByRole("heading", { name: /Grace Moreau/ }).waitFor();
  assert.ok(await officer.locator("svg").count() > 0, "the waterfall is drawn");
  assert.ok(await officer.locator("table.factors tbody tr").count() > 10, "and every factor is in the table");
  await officer.getByText("Reasons, documents and comment").click();
  const reason = officer.locator("#codes label.check").first();
  await reason.getByRole("checkbox").check();
  const words = await reason.locator("span").first().evaluate((span) => span.firstChild.textContent.trim());
  await officer.getByLabel("Why against the policy’s proposal").fill("The employer could not confirm the income.");
  await officer.getByRole("button", { name: "Decline…" }).click();
  await officer.getByRole("heading", { name: /Decline: Grace Moreau/ }).waitFor();
  await officer.locator(".paper").waitFor();
  await officer.locator("form[action$='/decide'] button").click();
  await officer.getByText(/Declined/).first().waitFor();

  await customer.goto(status);
  await customer.getByRole("heading", { name: "The main reasons" }).waitFor();
  await customer.locator("[aria-labelledby=letters] a").click();
  const letter = await customer.locator("main").innerText();
  assert.ok(letter.includes(words), `the letter says: ${words}\n${letter}`);

  const auditor = await signIn(chromium, program.address, "auditor@harbour.example");
  await auditor.goto("/audit/applications");
  await auditor.getByRole("link", { name: number.replace(/^\D+/, "") }).or(auditor.getByRole("link", { name: number })).first().click();
  await auditor.getByRole("button", { name: "Repeat the score" }).click();
  await auditor.getByText("The same bits came out.").waitFor();
  await auditor.goto("/audit");
  await auditor.getByRole("button", { name: /Verify/ }).first().click();
  await auditor.getByText(/Chain verified/i).first().waitFor();
  for (const page of [customer, officer, auditor]) await page.context().close();
});
