// Longer ways through the pages.
import assert from "node:assert/strict";
import { browser, check, heading, link, mail, texts, want } from "./frame.mjs";
import { door } from "./servers.mjs";

const text = texts.en;
const group = "journeys";
const button = (page, key) => page.getByRole("button", { name: text[key], exact: true });

check("recovery: an expired link leads to a mail with a new one", async (page) => {
  await page.goto(want.expiredLink);
  assert.equal(await heading(page), text["expired.title"]);
  await button(page, "send").click();
  assert.equal(await heading(page), text["sent.title"]);
  await page.goto(await mail("ada@example.com", "token"));
  await page.waitForURL(want.base + "/portal");
  assert.equal(await heading(page), "Ada Lovelace");
}, { group });

check("recovery: so does a code that was used", async (page) => {
  await page.goto(await link({ external_customer_id: "user_alan" }, want.codesAPIKey));
  const address = page.url();
  await button(page, "start.sign_in").click();
  // In the same browser, the customer goes on.
  await page.goto(address);
  await button(page, "start.sign_in").click();
  await page.waitForURL(want.base + "/portal");
  assert.equal(await heading(page), "Alan Turing");
  await page.context().clearCookies();
  await page.goto(address);
  await button(page, "start.sign_in").click();
  assert.equal(await heading(page), text["used.title"]);
  await button(page, "send").click();
  assert.equal(await heading(page), text["sent.title"]);
  await page.goto(await mail("alan@example.com", "code"));
  await button(page, "start.sign_in").click();
  await page.waitForURL(want.base + "/portal");
  assert.equal(await heading(page), "Alan Turing");
}, { group });

check("a session that ends soon leads to a mail with a new link", async (page) => {
  await page.goto(await link({ expires_in: 120, external_customer_id: "team_bletchley", external_member_id: "user_gordon" }));
  await button(page, "send").click();
  assert.equal(await heading(page), text["sent.title"]);
  await page.goto(await mail("gordon@example.com", "token"));
  await page.waitForURL(want.base + "/portal");
  assert.equal(await heading(page), "Gordon Welchman");
}, { group });

check("sign-out everywhere ends the session of a second browser within 2 seconds", async (page) => {
  const member = { external_customer_id: "team_bletchley", external_member_id: "user_mavis" };
  const second = await browser.newContext();
  const tab = await second.newPage();
  for (const p of [page, tab]) {
    await p.goto(await link(member));
    assert.equal(await heading(p), "Mavis Batey");
  }
  await button(page, "account.everywhere").click();
  await page.waitForURL(want.base + "/portal/signed-out-everywhere");
  const start = Date.now();
  assert.equal(await heading(page), text["signed_out_everywhere.title"]);
  while ((await tab.reload()).status() === 200) {
    assert.ok(Date.now() - start < 2000, "the second browser is still signed in");
  }
  assert.equal(await heading(tab), text["revoked.title"]);
  await second.close();
}, { group });

check("the member and the role are shown", async (page) => {
  await page.goto(await link({ external_customer_id: "team_bletchley", external_member_id: "user_gordon" }));
  assert.equal(await heading(page), "Gordon Welchman");
  assert.equal(await page.locator("#email").innerText(), "gordon@example.com");
  assert.equal(await page.locator("#member").innerText(), "Billing manager, Bletchley Park");
}, { group });

check("a browser that keeps no cookies is told why", async (page) => {
  const portal = await door({ cookies: false });
  await page.goto(portal.through(await link()));
  assert.equal(page.url(), portal.base + "/portal");
  assert.equal(await heading(page), text["none.title"]);
  assert.match(await page.locator("#problem").innerText(), /allow cookies/);
}, { group });

check("the issuer is away: the page has no name, and says that sessions stay open", async (page) => {
  await page.goto(await link());
  await page.goto(want.withoutAPI + "/portal");
  assert.match(await page.locator("#left").innerText(), /^(59:\d\d|1:00:00)$/);
  await button(page, "account.everywhere").click();
  assert.equal(await heading(page), text["still_open.title"]);
}, { group });

check("the keys are away: trying again is one press", async (page) => {
  await page.goto(want.withoutIssuer + new URL(await link()).pathname + new URL(await link()).search);
  assert.equal(await heading(page), text["outage.title"]);
  await button(page, "again").click();
  assert.equal(await heading(page), text["outage.title"]);
}, { group });

check("the keyboard is enough, and the focus can be seen", async (page) => {
  // walk presses Tab until an element has the focus, and returns all on the way.
  const walk = async (target) => {
    const seen = [];
    for (let presses = 0; presses < 30; presses++) {
      await page.keyboard.press("Tab");
      const { name, outline } = await page.evaluate(() => {
        const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
        return { name: document.activeElement.textContent.trim() || document.activeElement.value, outline: outlineStyle + outlineWidth };
      });
      assert.equal(outline, "solid3px", "focus of " + name);
      seen.push(name);
      if (name === target) {
        return seen;
      }
    }
    assert.fail(`Tab does not lead to ${target}: ${seen}`);
  };
  await page.goto(want.base);
  assert.deepEqual(await walk("Sign in as Ada Lovelace"), ["Demo shop", "token", "3600", "Sign in as Ada Lovelace"]);
  await page.keyboard.press("Enter");
  await page.waitForURL(want.base + "/portal");
  assert.deepEqual(await walk(text["account.sign_out"]),
    ["Demo portal", text.back, text["account.everywhere"], text["account.sign_out"]]);
  await page.keyboard.press("Enter");
  await page.waitForURL(want.base + "/portal/signed-out");
  assert.deepEqual(await walk(text.get_link), ["Demo portal", text.get_link]);
  await page.keyboard.press("Enter");
  await page.waitForURL(want.base + "/");
  // The choices are one stop each, with arrows between them.
  await walk("token");
  await page.keyboard.press("ArrowDown");
  await walk("Sign in as Alan Turing");
  await page.keyboard.press("Enter");
  await page.waitForURL(/customer_session_code/);
  assert.deepEqual(await walk(text["start.sign_in"]), ["Demo portal", text["start.sign_in"]]);
  await page.keyboard.press("Enter");
  await page.waitForURL(want.base + "/portal");
  assert.equal(await heading(page), "Alan Turing");
}, { group });
