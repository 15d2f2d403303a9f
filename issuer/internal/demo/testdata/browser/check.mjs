// Opens the demo portal in Chromium, as a customer would. Standard input is
// JSON: the browser's path, links, what the page should say, and where to put
// screenshots, if anywhere. Prints a line for each check that passed; the first
// one that fails ends the script with exit status 1.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";

const want = JSON.parse(readFileSync(0, "utf8"));
const browser = await chromium.launch({
  executablePath: want.browser,
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
  ],
});

async function check(name, run, options = {}) {
  const context = await browser.newContext({ viewport: { width: 900, height: 720 }, ...options });
  const problems = [];
  context.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  context.on("weberror", (error) => problems.push(String(error.error())));
  try {
    const page = await context.newPage();
    await run(page, context);
    // The browser reports a refusal as an error, too.
    assert.deepEqual(problems.filter((text) => !/status of 40[14]/.test(text)), []);
    console.log("ok " + name);
  } finally {
    await context.close();
  }
}

async function screenshot(page, name) {
  if (want.screenshots) {
    await page.screenshot({ path: `${want.screenshots}/${name}.png` });
  }
}

const open = (page) => page.goto(want.link);
const heading = (page) => page.locator("h1").innerText();

await check("the link shows who is signed in, and the address loses the token", async (page) => {
  await open(page);
  assert.equal(await heading(page), want.name);
  assert.equal(await page.locator("#email").innerText(), want.email);
  assert.equal(await page.locator("#key").innerText(), want.keyID);
  assert.equal(page.url(), want.base + "/portal");
  assert.match(await page.locator("#left").innerText(), /^(59:\d\d|1:00:00) left$/);
  assert.equal(await page.evaluate(() => document.cookie), "", "a script can read the cookie");
  await screenshot(page, "demo-portal");
});

await check("the countdown runs", async (page) => {
  await page.clock.install();
  await open(page);
  const before = await page.locator("#left").innerText();
  await page.clock.runFor(65_000);
  const after = await page.locator("#left").innerText();
  assert.notEqual(before, after);
  assert.match(after, /^58:\d\d left$/);
});

await check("the cookie is for this host alone, and ends with the session", async (page, context) => {
  await open(page);
  const cookies = await context.cookies();
  assert.equal(cookies.length, 1);
  const [cookie] = cookies;
  assert.equal(cookie.name, "customer_session"); // on loopback, where Safari takes no secure cookie
  assert.ok(!cookie.secure && cookie.domain === new URL(want.base).hostname && cookie.httpOnly && cookie.path === "/" && cookie.sameSite === "Lax");
  assert.ok(Math.abs(cookie.expires - Date.now() / 1000 - 3600) < 120);
});

await check("the next site learns nothing of the link", async (page) => {
  await open(page);
  await page.locator("#return").click();
  await page.waitForURL(want.returnURL);
  assert.equal(await page.evaluate(() => document.referrer), "");
  await page.goBack();
  assert.equal(page.url(), want.base + "/portal");
  assert.equal(await heading(page), want.name);
});

await check("reload works", async (page) => {
  await open(page);
  await page.reload();
  assert.equal(await heading(page), want.name);
});

await check("an expired link explains itself", async (page, context) => {
  const answer = await page.goto(want.expiredLink);
  assert.equal(answer.status(), 401);
  assert.equal(await heading(page), "Your session has ended");
  assert.match(await page.locator("#problem").innerText(), /limited time/);
  assert.deepEqual(await context.cookies(), []);
});

await check("a link that was cut off explains itself", async (page) => {
  await page.goto(want.link.slice(0, -20));
  assert.match(await page.locator("#problem").innerText(), /cut off/);
});

await check("it is dark where the customer wants it dark", async (page) => {
  await open(page);
  assert.equal(await heading(page), want.name);
  const background = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  assert.equal(background, "rgb(19, 22, 25)");
  await screenshot(page, "demo-portal-dark");
}, { colorScheme: "dark" });

await check("it fits a telephone", async (page) => {
  await open(page);
  assert.equal(await heading(page), want.name);
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  assert.equal(overflow, false);
}, { viewport: { width: 360, height: 740 } });

await check("it works without scripts", async (page) => {
  await open(page);
  assert.equal(await heading(page), want.name);
  assert.match(await page.locator("#left").innerText(), /^until \d\d:\d\d:\d\d UTC/);
}, { javaScriptEnabled: false });

await check("a page of another origin may ask whose session it is", async (page) => {
  const token = new URL(want.link).searchParams.get("customer_session_token");
  await page.goto(want.base.replace("127.0.0.1", "localhost") + "/v1/nothing");
  const ask = (token) => page.evaluate(async ({ base, token }) => {
    const answer = await fetch(base + "/v1/customer-portal/customer-session/user", {
      headers: { Authorization: "Bearer " + token, "Content-Type": "application/json", "Polar-Version": "2026-10" },
    });
    return { status: answer.status, challenge: answer.headers.get("WWW-Authenticate"), ...await answer.json() };
  }, { base: want.base, token });
  assert.equal((await ask(token)).email, want.email);
  const refused = await ask("x");
  assert.equal(refused.status, 401);
  assert.match(refused.challenge, /invalid_token/);
});

// Elements of a page whose boxes overlap.
const overlaps = (page, selector) => page.locator(selector).evaluateAll((elements) => {
  const boxes = elements.flatMap((e) => [...e.getClientRects()].map((box) => ({ box, text: e.textContent })));
  return boxes.flatMap((a, i) => boxes.slice(i + 1).filter(({ box: b }) =>
    a.box.left < b.right && b.left < a.box.right && a.box.top < b.bottom && b.top < a.box.bottom)
    .map((b) => [a.text, b.text]));
});

const phone = { viewport: { width: 375, height: 740 }, isMobile: true, colorScheme: "dark" };

// At the root, and below a path that a gateway removes.
for (const [address, options] of [[want.base + "/docs", {}], [want.below + "/docs/", phone]]) {
  await check("the API can be tried at " + new URL(address).pathname, async (page) => {
    await page.goto(address);
    await page.locator("button.authorize").click();
    await page.locator(".auth-container input").first().fill(want.apiKey);
    await page.locator(".auth-container button.authorize").first().click();
    await page.locator(".btn-done").first().click();
    await page.locator(".opblock-post .opblock-summary-control").first().click();
    await page.locator(".try-out__btn").click();
    await page.locator("button.execute").click();
    const status = page.locator(".live-responses-table tbody .response-col_status").first();
    assert.equal((await status.innerText()).trim(), "201");
    assert.ok((await page.locator(".request-url").innerText()).includes(address.replace(/docs.?$/, "v1/customer-sessions/")));
    assert.deepEqual(await overlaps(page, ".info code, .opblock-description code"), []);
    const width = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.equal(width[0], width[1], "the page is wider than the window");
    const filter = await page.evaluate(() => getComputedStyle(document.documentElement).filter);
    assert.equal(filter.includes("invert"), options.colorScheme === "dark");
  }, options);
}

await check("the first page leads to the API", async (page) => {
  await page.goto(want.base);
  assert.equal(await heading(page), "customersession");
  assert.notEqual(await page.evaluate(() => getComputedStyle(document.body).maxWidth), "none", "the style is refused");
  await page.getByRole("link", { name: "The API" }).click();
  await page.waitForURL(want.base + "/docs");
});

// From here on, the link is dead.
await check("sign-out ends the session, also for a thief of the link", async (page, context) => {
  await open(page);
  await page.locator("#sign-out").click();
  await page.waitForURL(want.base + "/portal/signed-out");
  assert.equal(await heading(page), "You are signed out");
  assert.deepEqual(await context.cookies(), []);
  await page.goto(want.base + "/portal");
  assert.equal(await heading(page), "You are not signed in");
});

await check("a link whose session was ended explains itself", async (page, context) => {
  const answer = await open(page);
  assert.equal(answer.status(), 401);
  assert.equal(await heading(page), "Your session has ended");
  assert.match(await page.locator("#problem").innerText(), /signed out/);
  assert.deepEqual(await context.cookies(), []);
});

await browser.close();
