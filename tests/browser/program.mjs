// The built program with a bank of its own, and Chromium.
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

/** Everybody's password in the demonstration bank. */
export const PASSWORD = "candor-demo";

async function freePort() {
  const server = createServer();
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  const { port } = server.address();
  await new Promise((closed) => server.close(closed));
  return port;
}

/**
 * Starts `candor serve` with the demonstration bank in a folder of its own and waits until it is ready.
 * The program is the one of `CANDOR_BINARY`.
 */
export async function startProgram() {
  const binary = process.env.CANDOR_BINARY;
  if (!binary) throw new Error("CANDOR_BINARY must name the built program; tests/run sets it");
  const home = await mkdtemp(path.join(tmpdir(), "candor-browser-"));
  const address = `127.0.0.1:${await freePort()}`;
  const kept = Object.entries(process.env).filter(([name]) => !/^(CANDOR_|DATABASE_URL|REDIS_URL)/.test(name));
  const child = spawn(binary, ["serve"], {
    cwd: home,
    env: { ...Object.fromEntries(kept), CANDOR_HOME: home, CANDOR_LISTEN: address },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  child.stderr.on("data", (bytes) => { said += bytes; });
  await new Promise((ready, failed) => {
    createInterface({ input: child.stdout }).on("line", (line) => {
      if (line.startsWith("Candor is ready")) ready();
    });
    child.on("exit", (code) => failed(new Error(`the program ended with ${code} before it was ready:\n${said}`)));
  });
  return {
    address: `http://${address}`,
    async stop() {
      const ended = new Promise((end) => child.on("exit", end));
      child.kill("SIGTERM");
      const code = await ended;
      await rm(home, { recursive: true, force: true });
      if (code !== 0) throw new Error(`the program ended with ${code}:\n${said}`);
    },
  };
}

/** Chromium as it is installed on the machine. */
export function startChromium() {
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  const args = ["--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
  // Chromium refuses its sandbox to root, which is who runs tests in a container.
  if (process.getuid?.() === 0) args.push("--no-sandbox");
  return chromium.launch({ executablePath, args });
}

/** A browser of somebody new. `options` are Playwright's for a context. */
export async function visitor(browser, address, options = {}) {
  const context = await browser.newContext({
    baseURL: address,
    viewport: { width: 1280, height: 800 },
    locale: "en-GB",
    reducedMotion: "reduce",
    ...options,
  });
  context.setDefaultTimeout(15_000);
  return context.newPage();
}

/** A browser in which somebody of the demonstration bank has signed in. */
export async function signIn(browser, address, email, options = {}) {
  const page = await visitor(browser, address, options);
  await page.goto("/sign-in");
  await page.getByLabel("Email address").fill(email);
  await page.getByLabel("Password").fill(PASSWORD);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL((url) => !url.pathname.startsWith("/sign-in"));
  return page;
}
