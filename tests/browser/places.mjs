// Where the pages are, and who opens them.
import { signIn, visitor } from "./program.mjs";

/** For each sign-in (`""` for a customer): a page's name, and its address or how to get there from a page. */
const PLACES = {
  "": [
    ["chat", "/"],
    ["help", "/help"],
    ["help-article", first("/help", "main a[href^='/help/']")],
    ["apply", "/apply"],
    ["sign-in", "/sign-in"],
    ["not-found", "/nowhere"],
  ],
  "agent@harbour.example": [
    ["desk", "/desk?tab=all"],
    ["desk-conversation", first("/desk?tab=all", "[data-row]")],
    ["account", "/account"],
  ],
  "officer@harbour.example": [
    ["credit", "/credit"],
    ["credit-application", first("/credit", "a.row-link")],
    ["credit-letters", "/credit/letters"],
    ["credit-letter", first("/credit/letters", "main a[href^='/credit/letters/']")],
  ],
  "auditor@harbour.example": [
    ["audit", "/audit"],
    ["audit-entry", first("/audit", "main a[href^='/audit/entries/']")],
    ["audit-decisions", "/audit/applications"],
    ["audit-file", first("/audit/applications", "a.row-link")],
  ],
  "manager@harbour.example": [
    ["manage", "/manage"],
    ["manage-articles", "/manage/articles"],
    ["manage-article-new", "/manage/articles/new"],
    ["manage-article", first("/manage/articles", "main a[href^='/manage/articles/']:not([href$='/new'])")],
    ["manage-canned", "/manage/canned"],
    ["manage-clients", "/manage/clients"],
    ["manage-client-new", "/manage/clients/new"],
    ["manage-people", "/manage/people"],
    ["manage-person-new", "/manage/people/new"],
    ["manage-person", first("/manage/people", "main a[href^='/manage/people/']:not([href$='/new'])")],
    ["manage-policies", "/manage/policies"],
    ["manage-policy", first("/manage/policies", "main a[href^='/manage/policies/']")],
    ["manage-models", "/manage/models"],
    ["manage-model", first("/manage/models", "main a[href^='/manage/models/']")],
    ["manage-reasons", "/manage/reasons"],
    ["manage-sessions", "/manage/sessions"],
    ["manage-reports", "/manage/reports"],
    ["manage-reports-risk", "/manage/reports/risk"],
    ["manage-reports-thresholds", "/manage/reports/risk/thresholds"],
    ["manage-reports-fairness", "/manage/reports/risk/fairness?days=180"],
    ["manage-reports-factors", "/manage/reports/risk/factors"],
    ["manage-reports-stability", "/manage/reports/risk/stability?days=180"],
    ["manage-reports-conversations", first("/manage/reports", "main a[href*='/conversations']")],
    ["manage-flows", "/manage/flows"],
    ["manage-flow", first("/manage/flows", "main a[href^='/manage/flows/']")],
  ],
};

/** The first link of a list. */
function first(list, selector) {
  return async (page) => {
    await page.goto(list);
    const href = await page.locator(selector).first().getAttribute("href");
    await page.goto(href);
  };
}

/**
 * Opens every page and calls `look(page, name, errors)` on each; `errors` are what the page wrote to the console.
 * `options` are Playwright's for a context.
 */
export async function everyPage(browser, address, options, look) {
  for (const [email, places] of Object.entries(PLACES)) {
    const page = email ? await signIn(browser, address, email, options) : await visitor(browser, address, options);
    let errors = [];
    page.on("console", (message) => { if (message.type() === "error" && !/status of 404/.test(message.text())) errors.push(message.text()); });
    page.on("pageerror", (error) => errors.push(error.message));
    for (const [name, place] of places) {
      errors = [];
      if (typeof place === "string") await page.goto(place);
      else await place(page);
      await page.waitForLoadState("load");
      await look(page, name, errors);
    }
    await page.context().close();
  }
}
