// Runs published SDKs and a JOSE library against a running customersession.
//
// It reads one JSON object from standard input:
//
//   baseURL         where the server listens, no trailing slash
//   issuer          the issuer URL, as configured
//   audience        the audience of the tokens
//   apiKey          a key with the scope customer_sessions:write
//   customerID      a customer of that key's organization, type "individual"
//   externalID      the external ID of the same customer
//   customerEmail   the e-mail address of the same customer
//   team            a customer of type "team": customerID, externalID,
//                   customerEmail, and two of its members, by memberID and by
//                   externalMemberID; memberEmail and role are of the first
//   organizationID  optional: checked when given
//   link            optional: what links hold, "token" by default, or "code";
//                   also in team
//   algorithm       optional: of the signing key, ES256 by default
//
// It prints "ok <what>" for every check that holds and ends with status 1 at
// the first that does not. It never prints a token or a key.

import { text } from "node:stream/consumers";
import { checkTokens } from "./discovery.mjs";
import { checkPolar0 } from "./polar0.mjs";
import { checkPolar1 } from "./polar1.mjs";
import { checkPolarOld } from "./polar-old.mjs";
import { Report } from "./report.mjs";

const required = [
  "baseURL",
  "issuer",
  "audience",
  "apiKey",
  "customerID",
  "externalID",
  "customerEmail",
  "team",
];

async function readTarget() {
  const target = { algorithm: "ES256", ...JSON.parse(await text(process.stdin)) };
  const missing = required.filter((name) => !target[name]);
  if (missing.length > 0) {
    throw new Error(`standard input lacks ${missing.join(", ")}`);
  }
  return target;
}

// The 0.x SDKs read these: one adds a credential, the other prints headers.
delete process.env.POLAR_ACCESS_TOKEN;
delete process.env.POLAR_DEBUG;

const report = new Report();
try {
  const target = await readTarget();
  report.hide(target.apiKey);
  await checkPolar0(target, report);
  await checkPolarOld(target, report);
  const session = await checkPolar1(target, report);
  await checkTokens(target, report, session);
} catch (error) {
  report.fail(error);
  process.exitCode = 1;
}
