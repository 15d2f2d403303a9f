// Opens the demo's pages in Chromium, as a customer would. Standard input is JSON:
// the browser's path, addresses, API keys, and where to put screenshots, if
// anywhere. Prints a line for each check that passed; if one fails, the exit
// status is 1.
import { runChecks } from "./frame.mjs";
import { closeServers } from "./servers.mjs";

for (const part of ["pages", "portal", "journeys", "attacks", "api"]) {
  await import(`./${part}.mjs`);
}
await runChecks();
closeServers();
