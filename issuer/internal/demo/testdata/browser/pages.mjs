// Every page, in each language.
import { check, checkPage, link, screenshot, want } from "./frame.mjs";

const code = (body) => link(body, want.codesAPIKey);
const state = (state, query = "") => (page) => page.goto(`${want.withoutIssuer}/state/${state}?${query}`);

checkPage("shop", "start.title", (page) => page.goto(want.base));
checkPage("portal", null, async (page) => page.goto(await link()));
checkPage("portal, at the end", null, async (page) => page.goto(await link({ expires_in: 200 })));
checkPage("not signed in", "none.title", (page) => page.goto(want.base + "/portal"));
checkPage("session ended", "ended.title", (page) => page.goto(want.base + "/portal/ended"));
checkPage("signed out", "signed_out.title", (page) => page.goto(want.base + "/portal/signed-out"));
checkPage("not found", "missing.title", (page) => page.goto(want.base + "/portal/nothing"));
checkPage("expired link", "expired.title", (page) => page.goto(want.expiredLink));
checkPage("link cut off", "broken.title", async (page) => page.goto((await link()).slice(0, -20)));
checkPage("question", null, async (page) => page.goto(await code()));
checkPage("question, of another account", null, async (page) => {
  await page.goto(await link());
  await page.goto(await link({ external_customer_id: "user_alan" }));
});
checkPage("member", null, async (page) =>
  page.goto(await link({ external_customer_id: "team_bletchley", external_member_id: "user_gordon" })));
checkPage("signed out everywhere", "signed_out_everywhere.title", (page) => page.goto(want.base + "/portal/signed-out-everywhere"));
checkPage("link used twice", "used.title", async (page) => {
  const address = await code();
  for (let i = 0; i < 2; i++) {
    await page.context().clearCookies();
    await page.goto(address);
    await page.locator("main button").click();
  }
});
checkPage("keys away", "outage.title", async (page) => page.goto((await link()).replace(want.base, want.withoutIssuer)));
// What a browser meets rarely.
checkPage("link in a frame", "frame.title", state("refused", "err=navigation"));
checkPage("link of another site's form", "elsewhere.title", state("refused", "err=origin"));
checkPage("plain http", "http.title", state("refused", "err=http"));
checkPage("large cookie", "size.title", state("refused", "err=size"));
checkPage("new link sent", "sent.title", state("sent"));
checkPage("no recovery", "unsent.title", state("no_recovery"));
checkPage("too many new links", "wait.title", state("wait", "button=x"));
checkPage("link of an ended session", "revoked.title", state("ended"));

// What the README shows.
for (const [colorScheme, suffix] of want.screenshots ? [["light", ""], ["dark", "-dark"]] : []) {
  check(`screenshots (${colorScheme})`, async (page) => {
    await page.goto(want.base);
    await screenshot(page, "demo-shop" + suffix);
    await page.getByRole("button", { name: "Sign in as Gordon Welchman" }).click();
    await page.waitForURL(want.base + "/portal");
    await screenshot(page, "demo-portal" + suffix);
  }, { colorScheme, viewport: { width: 800, height: 980 } });
}
