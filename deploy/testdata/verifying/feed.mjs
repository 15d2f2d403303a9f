// Asks the follower of the page whether sessions have ended.
//
// Standard input has one JSON object in a line: {"claims": {…}, "kid": "…"}. The
// answer is "ended", "good" or "unavailable".
import { createInterface } from "node:readline";
import { follow, hasEnded } from "./revocations.mjs";

follow();
for await (const line of createInterface({ input: process.stdin })) {
  const { claims, kid } = JSON.parse(line);
  try {
    console.log(hasEnded(claims, kid) ? "ended" : "good");
  } catch {
    console.log("unavailable");
  }
}
process.exit();
