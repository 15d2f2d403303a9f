// Shows tokens to the program of the page and says what it made of them.
//
// Standard input has one JSON object in a line. {"advance": 60} moves the clock
// that the age of keys is measured with, not the one of tokens; {"token": "…"}
// asks for a verdict: "accepted", "refused" or "unavailable".
import { createInterface } from "node:readline";
import { isOutage, verify } from "./verify.mjs";

const now = Date.now;
let offset = 0;
Date.now = () => now() + offset;

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  if (command.advance !== undefined) {
    offset += command.advance * 1000;
    continue;
  }
  try {
    const claims = await verify(command.token);
    const whose = [claims.sub, claims.member_id, claims.role].filter(Boolean).join(" ");
    console.log(`accepted ${whose.replace(/\s+/g, " ")}`); // one line, whatever they hold
  } catch (error) {
    console.log(isOutage(error) ? "unavailable" : "refused");
  }
}
