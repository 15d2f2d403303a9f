// What a customer does in the portal.
import assert from "node:assert/strict";
import { check, heading, link, session, texts, want } from "./frame.mjs";

const open = async (page, body) => page.goto(await link(body));
const text = texts.en;
const group = "portal";

check("the link shows who is signed in, and the address loses the token", async (page) => {
  await open(page);
  assert.equal(await heading(page), "Ada Lovelace");
  assert.equal(await page.locator("#email").innerText(), "ada@example.com");
  assert.equal(await page.locator("#key").innerText(), want.keyID);
  assert.equal(page.url(), want.base + "/portal");
  assert.match(await page.locator("#left").innerText(), /^(59:\d\d|1:00:00)$/);
  assert.equal(await page.evaluate(() => document.cookie), "", "a script can read the cookie");
}, { group });

check("the countdown runs, warns twice before the end, and offers a new link", async (page) => {
  await page.clock.install();
  await open(page);
  const warning = page.getByRole("status");
  await page.clock.runFor(65_000);
  assert.match(await page.locator("#left").innerText(), /^58:\d\d$/);
  assert.equal(await warning.innerText(), "");
  assert.equal(await page.locator("#renew").isVisible(), false);
  await page.clock.fastForward(3_250_000);
  assert.match(await page.locator("#left").innerText(), /^04:\d\d$/);
  assert.equal(await warning.innerText(), text["account.soon"].replace("%d", "5"));
  assert.equal(await page.getByRole("button", { name: text.send }).isVisible(), true);
  // A screen reader speaks when the text changes: twice, not each second.
  const changes = await page.evaluateHandle(() => {
    const texts = [];
    new MutationObserver(() => texts.push(warning.textContent)).observe(warning, { childList: true, characterData: true, subtree: true });
    return texts;
  });
  await page.clock.runFor(240_000);
  assert.deepEqual(await changes.jsonValue(), [text["account.very_soon"]]);
  await page.clock.runFor(60_000);
  await page.waitForURL(want.base + "/portal/ended");
  assert.equal(await heading(page), text["ended.title"]);
});

check("a wrong clock in the browser does not end the session", async (page) => {
  await page.clock.install({ time: Date.now() + 86_400_000 });
  await open(page);
  await page.clock.runFor(5_000);
  assert.match(await page.locator("#left").innerText(), /^59:\d\d$/);
});

check("the cookie is for this host alone, and ends with the session", async (page, context) => {
  await open(page);
  const cookies = await context.cookies();
  assert.equal(cookies.length, 1);
  const [cookie] = cookies;
  assert.equal(cookie.name, "customer_session"); // on loopback, where Safari takes no secure cookie
  assert.ok(!cookie.secure && cookie.domain === new URL(want.base).hostname && cookie.httpOnly && cookie.path === "/" && cookie.sameSite === "Lax");
  assert.ok(Math.abs(cookie.expires - Date.now() / 1000 - 3600) < 120);
}, { group });

check("the next site learns nothing of the link", async (page) => {
  const next = want.below + "/.well-known/jwks.json";
  await open(page, { return_url: next });
  await page.locator("#return").click();
  await page.waitForURL(next);
  assert.equal(await page.evaluate(() => document.referrer), "");
  await page.goBack();
  assert.equal(page.url(), want.base + "/portal");
  assert.equal(await heading(page), "Ada Lovelace");
}, { group });

check("reload works", async (page) => {
  await open(page);
  await page.reload();
  assert.equal(await heading(page), "Ada Lovelace");
}, { group });

check("a link that does not work leaves no cookie", async (page, context) => {
  for (const address of [want.expiredLink, (await link()).slice(0, -20)]) {
    const answer = await page.goto(address);
    assert.equal(answer.status(), 401);
    assert.deepEqual(await context.cookies(), []);
  }
}, { group });

check("it is dark where the customer wants it dark", async (page) => {
  await open(page);
  assert.equal(await page.evaluate(() => getComputedStyle(document.body).backgroundColor), "rgb(19, 22, 24)");
}, { colorScheme: "dark" });

check("it works without scripts", async (page) => {
  await page.goto(want.base);
  await page.getByRole("button", { name: "Sign in as Ada Lovelace" }).click();
  assert.equal(await heading(page), "Ada Lovelace");
  assert.match(await page.locator("#left").innerText(), /^(59:\d\d|1:00:00)$/);
  assert.match(await page.locator("time").innerText(), /^\d{4}-\d\d-\d\d \d\d:\d\d UTC$/);
}, { javaScriptEnabled: false });

check("the shop's page works under another name of this host", async (page) => {
  await page.goto(want.base.replace("127.0.0.1", "localhost"));
  await page.getByRole("button", { name: "Sign in as Ada Lovelace" }).click();
  await page.waitForURL(want.base + "/portal");
  assert.equal(await heading(page), "Ada Lovelace");
}, { group });

check("sign-out ends the session, also for a thief of the link", async (page, context) => {
  const address = await link();
  await page.goto(address);
  await page.locator("#sign-out").click();
  await page.waitForURL(want.base + "/portal/signed-out");
  assert.equal(await heading(page), text["signed_out.title"]);
  assert.deepEqual(await context.cookies(), []);
  await page.goto(want.base + "/portal");
  assert.equal(await heading(page), text["none.title"]);
  const answer = await page.goto(address);
  assert.equal(answer.status(), 401);
  assert.equal(await heading(page), text["revoked.title"]);
  assert.deepEqual(await context.cookies(), []);
}, { group });

check("a page of another origin may ask whose session it is", async (page) => {
  const { token } = await session();
  await page.goto(want.base.replace("127.0.0.1", "localhost") + "/v1/nothing");
  const ask = (token) => page.evaluate(async ({ base, token }) => {
    const answer = await fetch(base + "/v1/customer-portal/customer-session/user", {
      headers: { Authorization: "Bearer " + token, "Content-Type": "application/json", "Polar-Version": "2026-10" },
    });
    return { status: answer.status, challenge: answer.headers.get("WWW-Authenticate"), ...await answer.json() };
  }, { base: want.base, token });
  assert.equal((await ask(token)).email, "ada@example.com");
  const refused = await ask("x");
  assert.equal(refused.status, 401);
  assert.match(refused.challenge, /invalid_token/);
}, { group });
