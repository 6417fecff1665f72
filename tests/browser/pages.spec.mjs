// Every page: accessible, in both themes, nothing wider than the window, no error in the console.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { everyPage } from "./places.mjs";
import { startChromium, startProgram } from "./program.mjs";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

let program, chromium;
before(async () => { [program, chromium] = await Promise.all([startProgram(), startChromium()]); });
after(async () => {
  await chromium?.close();
  await program?.stop();
});

const described = ({ id, help, nodes }) => `${id}: ${help}\n    ${nodes.slice(0, 3).map((node) => node.html.slice(0, 160)).join("\n    ")}`;

for (const [width, height, colorScheme] of [[1280, 800, "light"], [390, 844, "dark"]]) {
  test(`every page at ${width} px, ${colorScheme}`, async () => {
    const wrong = [];
    let seen = 0;
    await everyPage(chromium, program.address, { viewport: { width, height }, colorScheme, bypassCSP: true }, async (page, name, errors) => {
      seen += 1;
      if (errors.length > 0) wrong.push(`${name}: console: ${errors.join("; ")}`);
      assert.equal(await page.locator("h1").count(), 1, `${name} has one heading`);
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      if (overflow > 0) wrong.push(`${name}: ${overflow} px wider than the window`);
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => globalThis.axe.run(document, {
        runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
      }));
      wrong.push(...violations.map((violation) => `${name}: ${described(violation)}`));
    });
    assert.ok(seen > 25, `${seen} pages were seen`);
    assert.deepEqual(wrong, [], wrong.join("\n"));
  });
}
