// What other sites, scanners and thieves of links try.
import assert from "node:assert/strict";
import { once } from "node:events";
import { request } from "node:http";
import { browser, check, heading, kinds, link, texts, want } from "./frame.mjs";
import { door, siblingPage } from "./servers.mjs";

const text = texts.en;
const signIn = (page) => page.getByRole("button", { name: text["start.sign_in"], exact: true }).click();
const cookiesOf = async (context) => JSON.stringify(await context.cookies());

// How a page of another origin can ask for an address, and what Chromium then says
// that it is for.
const ways = {
  image: (address) => `<img src="${address}">`,
  script: (address) => `<script src="${address}"></script>`,
  stylesheet: (address) => `<link rel="stylesheet" href="${address}">`,
  iframe: (address) => `<iframe src="${address}"></iframe>`,
  object: (address) => `<object data="${address}"></object>`,
  "fetch, no-cors": (address) => `<script>fetch(${JSON.stringify(address)}, { mode: "no-cors", credentials: "include" })</script>`,
  "fetch, POST": (address) => `<script>fetch(${JSON.stringify(address)}, { mode: "no-cors", credentials: "include", method: "POST" })</script>`,
  prefetch: (address) => `<link rel="prefetch" href="${address}">`,
  "speculation, prefetch": (address) => `<script type="speculationrules">${JSON.stringify({ prefetch: [{ source: "list", urls: [address], eagerness: "immediate" }] })}</script>`,
  "speculation, prerender": (address) => `<script type="speculationrules">${JSON.stringify({ prerender: [{ source: "list", urls: [address], eagerness: "immediate" }] })}</script>`,
};

// tryWays opens a page of a sibling origin that asks for a link in every way, for a
// visitor without a session and for one who has one. It returns the statuses of the
// answers to each, whether the visitors' cookies have changed, and whose session the
// second one has then.
async function tryWays(page, context, apiKey) {
  const portal = await door();
  const statuses = {};
  let changed = false;
  for (const before of [null, await link({ external_customer_id: "user_alan" })]) {
    await context.clearCookies();
    if (before) {
      await page.goto(before);
    }
    const cookies = await cookiesOf(context);
    let html = "";
    const addresses = {};
    for (const way in ways) {
      addresses[way] = portal.through(await link({}, apiKey));
      html += ways[way](addresses[way]);
    }
    await page.goto(siblingPage(html), { waitUntil: "commit" });
    for (const way in ways) {
      (statuses[way] ??= []).push((await portal.arrived(addresses[way])).status);
    }
    changed ||= await cookiesOf(context) !== cookies;
  }
  await page.goto(want.base + "/portal");
  return { statuses, changed, who: await heading(page) };
}

for (const [kind, apiKey] of kinds) {
  let tried;
  for (const way in ways) {
    check(`attack: ${way} of a sibling origin, ${kind} link`, async (page, context) => {
      tried ??= tryWays(page, context, apiKey);
      const { statuses, changed, who } = await tried;
      assert.ok(statuses[way].every((status) => status >= 400), `the answers are ${statuses[way]}`);
      assert.deepEqual([changed, who], [false, "Alan Turing"], "one of the ways has changed who is signed in");
    }, { expected: /./, group: "attacks " + kind });
  }

  check(`attack: form of a sibling origin, ${kind} link`, async (page, context) => {
    const address = await link({}, apiKey);
    await page.goto(siblingPage(`<form method="post" action="${address}"><input name="redemption" value="${"A".repeat(26)}"><button>Win</button></form>`));
    await page.getByRole("button").click();
    await page.waitForURL(address);
    assert.equal(await heading(page), text["elsewhere.title"]);
    assert.deepEqual(await context.cookies(), []);
  }, { group: "links, " + kind });

  check(`attack: link to another account in either direction, ${kind} link`, async (page) => {
    const accounts = [["user_ada", "Ada Lovelace"], ["user_alan", "Alan Turing"]];
    await page.goto(await link());
    for (const [[, name], [id, other]] of [accounts, accounts.toReversed()]) {
      const address = await link({ external_customer_id: id }, apiKey);
      await page.goto(siblingPage(`<a href="${address}">Win</a>`));
      await page.getByRole("link").click();
      await page.waitForURL(address);
      assert.equal(await heading(page), text["confirm.title"].replace("%s", other));
      assert.ok((await page.locator("#question").innerText()).includes(name));
      await page.getByRole("link", { name: text["confirm.stay"].replace("%s", name) }).click();
      assert.equal(await heading(page), name);
      await page.goto(address);
      await signIn(page);
      await page.waitForURL(want.base + "/portal");
      assert.equal(await heading(page), other);
    }
  }, { group: "links, " + kind });

  check(`scanner: opens the link first, ${kind} link`, async (page, context) => {
    const address = await link({}, apiKey);
    // A program says nothing of how it opens a link, which fetch would.
    for (const method of ["GET", "HEAD"]) {
      const [answer] = await once(request(address, { method }).end(), "response");
      answer.resume();
      assert.equal(answer.statusCode, 200);
      assert.equal(answer.headers["set-cookie"], undefined, method);
    }
    // Others open it in a browser, and open the links of the page.
    const scanner = await browser.newContext();
    const tab = await scanner.newPage();
    await tab.goto(address);
    for (const href of await tab.locator("main a").evaluateAll((links) => links.map((a) => a.href))) {
      await tab.goto(href);
    }
    if (kind === "code") {
      assert.deepEqual(await scanner.cookies(), []);
    }
    await scanner.close();
    assert.deepEqual(await context.cookies(), []);
    await page.goto(address);
    if (kind === "code") {
      await signIn(page);
      await page.waitForURL(want.base + "/portal");
    }
    assert.equal(await heading(page), "Ada Lovelace");
  }, { group: "links, " + kind });
}

const group = "attacks";

check("attack: WebSocket of a sibling origin", async (page) => {
  const portal = await door();
  const address = portal.base + "/portal?socket";
  const open = () => page.evaluate((address) => {
    new WebSocket(address.replace("http", "ws"));
  }, address);
  await page.goto(await link());
  await page.goto(siblingPage(""));
  await open();
  const refused = await portal.arrived(address);
  assert.match(refused.headers.cookie, /customer_session/);
  assert.equal(refused.status, 403);
  // From a page of its own origin, the same cookie is good. The portal's pages open
  // no sockets.
  await page.goto(portal.base + "/v1/nothing");
  await open();
  assert.equal((await portal.arrived(address)).status, 200);
}, { expected: /WebSocket/ });

check("attack: form of a sibling origin that signs out everywhere", async (page) => {
  await page.goto(await link());
  for (const path of ["/portal/sign-out", "/portal/sign-out-everywhere", "/portal/new-link", "/shop/link"]) {
    await page.goto(siblingPage(`<form method="post" action="${want.base + path}"><button>Win</button></form>`));
    const [answer] = await Promise.all([
      page.waitForResponse((r) => r.url() === want.base + path),
      page.getByRole("button").click(),
    ]);
    assert.equal(answer.status(), 403, path);
  }
  await page.goto(want.base + "/portal");
  assert.equal(await heading(page), "Ada Lovelace");
}, { group });

check("attack: code used by a thief first", async (page) => {
  const address = await link({}, want.codesAPIKey);
  const thief = await browser.newContext();
  const tab = await thief.newPage();
  await tab.goto(address);
  await signIn(tab);
  assert.equal(await heading(tab), "Ada Lovelace");
  await thief.close();
  // The customer is told so.
  await page.goto(address);
  await signIn(page);
  assert.equal(await heading(page), text["used.title"]);
  assert.equal(await page.getByRole("button", { name: text.send }).isVisible(), true);
}, { group });
