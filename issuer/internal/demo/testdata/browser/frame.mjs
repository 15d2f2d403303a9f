// What all checks share.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

export const want = JSON.parse(readFileSync(0, "utf8"));

const site = new URL("../../site/", import.meta.url);
// The texts of the pages by language.
export const texts = Object.fromEntries(["en", "de"].map((language) =>
  [language, JSON.parse(readFileSync(new URL(language + ".json", site), "utf8"))]));

export const browser = await chromium.launch({
  executablePath: want.browser,
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
  ],
});

const groups = new Map();

// check adds a check. Checks of a group run one after another in one browser context,
// each without cookies, which is quicker than a context of its own. Expected matches
// the errors that its pages may report.
export function check(name, run, { group = name, expected, ...options } = {}) {
  if (!groups.has(group)) {
    groups.set(group, { options, checks: [] });
  }
  groups.get(group).checks.push({ name, run, expected });
}

async function runGroup({ options, checks }) {
  const context = await browser.newContext({ viewport: { width: 900, height: 720 }, locale: "en-GB", reducedMotion: "reduce", ...options });
  context.setDefaultTimeout(60_000);
  let problems;
  context.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  context.on("weberror", (error) => problems.push(String(error.error())));
  const page = await context.newPage();
  for (const { name, run, expected } of checks) {
    problems = [];
    await context.clearCookies();
    try {
      await run(page, context);
      // The browser reports a refusal as an error, too.
      assert.deepEqual(problems.filter((text) => !/status of [45]\d\d/.test(text) && !expected?.test(text)), []);
      console.log("ok " + name);
    } catch (error) {
      console.log("FAILED " + name + "\n" + error.stack);
      process.exitCode = 1;
    }
  }
  await context.close();
}

// runChecks runs all checks, some groups at once.
export async function runChecks() {
  const waiting = [...groups.values()].sort((a, b) => b.checks.length - a.checks.length);
  const worker = async () => {
    for (let next; (next = waiting.shift());) {
      await runGroup(next);
    }
  };
  await Promise.all(Array.from({ length: 5 }, worker));
  await browser.close();
}

// session creates a session as a checkout does.
export async function session(body, apiKey = want.apiKey) {
  const answer = await fetch(want.base + "/v1/customer-sessions/", {
    method: "POST",
    headers: { Authorization: "Bearer " + apiKey, "Content-Type": "application/json" },
    body: JSON.stringify({ external_customer_id: "user_ada", ...body }),
  });
  assert.equal(answer.status, 201, await answer.clone().text());
  return answer.json();
}

export const link = async (...args) => (await session(...args)).customer_portal_url;
export const heading = (page) => page.locator("h1").innerText();

// The kinds of links, by the API keys of the organizations.
export const kinds = Object.entries({ token: want.apiKey, code: want.codesAPIKey });

// mail waits for a mail to an address in the terminal, and returns its link.
export async function mail(address, kind) {
  const pattern = new RegExp(`Mail to ${address}\\n.*\\n +(http\\S+customer_session_${kind}=\\S+)\\n`);
  for (const end = Date.now() + 20_000; Date.now() < end; await new Promise((wake) => setTimeout(wake, 50))) {
    const found = pattern.exec(readFileSync(want.terminal, "utf8"));
    if (found) {
      return found[1];
    }
  }
  throw new Error("there is no mail to " + address);
}

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

async function accessible(page, rules) {
  const violations = await page.evaluate(async (rules) =>
    (await axe.run(document, rules && { runOnly: rules })).violations.map((v) => [v.id, v.nodes.map((n) => n.html)]), rules);
  assert.deepEqual(violations, [], page.url());
}

// look checks that a page fits every screen, and that axe finds nothing. Colours are
// all that changes in the dark, and words in German.
async function look(page, language) {
  for (const width of [1280, 768, 360]) {
    await page.setViewportSize({ width, height: 740 });
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(overflow <= 0, `${page.url()} in ${language} is ${overflow}px too wide at ${width}px`);
  }
  if (language !== "en") {
    return;
  }
  await page.evaluate(axe);
  await accessible(page);
  await page.emulateMedia({ colorScheme: "dark" });
  await accessible(page, ["color-contrast"]);
  await page.emulateMedia({ colorScheme: "light" });
}

// The pages that are looked at in German in every run. A rehearsal looks at all.
const inGerman = ["shop", "portal", "question", "expired link"];

// checkPage looks at a page in each language. Open leads to it; title is the key of
// its heading, or null.
export function checkPage(name, title, open) {
  for (const language of want.rehearsal || inGerman.includes(name) ? ["en", "de"] : ["en"]) {
    check(`page: ${name} (${language})`, async (page, context) => {
      await open(page, context);
      assert.equal(await page.locator("html").getAttribute("lang"), language);
      if (title) {
        assert.equal(await heading(page), texts[language][title]);
      }
      // Every page leads on.
      assert.ok(await page.locator("main :is(a, button)").count() > 0, "the page is a dead end");
      await look(page, language);
    }, { group: "pages " + language, locale: language });
  }
}

export const screenshot = (page, name) => page.screenshot({ path: `${want.screenshots}/${name}.png` });
