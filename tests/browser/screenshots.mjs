// Takes a picture of every page: `CANDOR_BINARY=… node screenshots.mjs FOLDER`. The README's five are made with it too.
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { everyPage } from "./places.mjs";
import { startChromium, startProgram } from "./program.mjs";

const folder = process.argv[2] ?? "screenshots";
await mkdir(folder, { recursive: true });
const [program, chromium] = await Promise.all([startProgram(), startChromium()]);
try {
  for (const [width, height] of [[1280, 800], [390, 844]]) {
    for (const colorScheme of ["light", "dark"]) {
      await everyPage(chromium, program.address, { viewport: { width, height }, colorScheme }, async (page, name) => {
        await page.screenshot({ path: path.join(folder, `${name}-${width}-${colorScheme}.png`) });
      });
    }
  }
} finally {
  await chromium.close();
  await program.stop();
}
