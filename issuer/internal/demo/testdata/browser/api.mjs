// The page to read the API and to try it.
import assert from "node:assert/strict";
import { check, want } from "./frame.mjs";

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
  check("the API can be tried at " + new URL(address).pathname, async (page) => {
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

check("the shop's page leads to the API", async (page) => {
  await page.goto(want.base);
  await page.getByRole("link", { name: "The API" }).click();
  await page.waitForURL(want.base + "/docs", { waitUntil: "commit" });
});
