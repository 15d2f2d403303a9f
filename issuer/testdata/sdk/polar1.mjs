// @polar-sh/sdk 1.0: hands the JSON over as it came, in three API versions.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { PolarClientError } from "polar-sdk-1";
import * as v202604 from "polar-sdk-1/2026-04";
import * as v202610 from "polar-sdk-1/2026-10";
import * as v202701 from "polar-sdk-1/2027-01";
import { memberMistake, memberMistakes, members, portalUser, validationDetail, wireSession } from "./shapes.mjs";

const versions = { "2026-04": v202604, "2026-10": v202610, "2027-01": v202701 };

// checkPolar1 returns a session with a return URL, for whoever looks at tokens.
export async function checkPolar1(target, report) {
  let session;
  for (const [version, sdk] of Object.entries(versions)) {
    session = await checkVersion(sdk, target, report, (name, run) =>
      report.check(`sdk 1.0 (${version}): ${name}`, run));
  }
  return session;
}

async function checkVersion(sdk, target, report, check) {
  const { baseURL: baseUrl, apiKey: accessToken, customerID, externalID } = target;
  const polar = sdk.createPolar({ accessToken, baseUrl });
  const create = async (request, client = polar) => {
    const session = await client.customerSessions.create(request);
    report.hide(session.token);
    wireSession(session, target);
    return session;
  };

  await check("create by customer ID", async () => {
    const [one, two] = [await create({ customer_id: customerID }), await create({ customer_id: customerID })];
    assert.equal(one.return_url, null);
    assert.notEqual(one.id, two.id);
    assert.ok(one.token !== two.token, "two sessions share a token");
  });
  await check("create by external ID", () => create({ external_customer_id: externalID }));
  // This SDK joins by hand: the path becomes //v1/customer-sessions/.
  await check("create with a slash after the base URL", () =>
    create({ customer_id: customerID }, sdk.createPolar({ accessToken, baseUrl: `${baseUrl}/` })));

  const session = await check("create with a return URL", async () => {
    const created = await create({ customer_id: customerID, return_url: "https://shop.example.com" });
    assert.equal(created.return_url, "https://shop.example.com/");
    return created;
  });
  await checkPortal(check, polar, target, session);
  await checkErrors(check, sdk, polar, target);
  await checkMembers(check, sdk, polar, target.team, report);
  return session;
}

async function checkMembers(check, sdk, polar, team, report) {
  const { customerID: customer_id, externalID: external_customer_id, memberID: member_id, externalMemberID: external_member_id } = team;
  const create = async (request) => {
    const session = await polar.customerSessions.create(request);
    report.hide(session.token);
    wireSession(session, team);
    return session;
  };
  const session = await check("create for a member by ID", () => create({ customer_id, member_id }));
  await check("create for a member by external ID", () => create({ external_customer_id, external_member_id }));
  await check("portal user of a member", async () =>
    portalUser(await polar.customerPortal.customerSession.getAuthenticatedUser({ accessToken: session.token }), team));
  const refused = (request, want) =>
    assert.rejects(() => polar.customerSessions.create(request), (error) => {
      assert.ok(error instanceof sdk.errors.HTTPValidationError, `${error.name} is not HTTPValidationError`);
      assert.equal(error.error.error, "PolarRequestValidationError");
      memberMistake(error.error.detail, want);
      return true;
    });
  await check("a team without a member is a typed error", () => refused({ customer_id }, memberMistakes.required));
  await check("unknown member ID is a typed error", () =>
    refused({ customer_id, member_id: randomUUID() }, memberMistakes.absent("member_id")));
  await check("unknown external member ID is a typed error", () =>
    refused({ external_customer_id, external_member_id: `nobody-${randomUUID()}` }, memberMistakes.absent("external_member_id")));
}

async function checkPortal(check, polar, target, session) {
  const portal = polar.customerPortal.customerSession;
  const holder = { accessToken: session.token };
  await check("portal introspect", async () => {
    const answer = await portal.introspect(holder);
    members(answer, "introspection", {
      expires_at: (v) => assert.equal(v, session.expires_at),
      return_url: (v) => assert.equal(v, session.return_url),
    });
  });
  await check("portal user", async () =>
    portalUser(await portal.getAuthenticatedUser(holder), target));
  await check("a session's token creates no session", () =>
    assert.rejects(
      () => polar.customerSessions.create({ customer_id: target.customerID }, holder),
      unauthorized("Unauthorized"),
    ));
}

async function checkErrors(check, sdk, polar, target) {
  const stranger = { accessToken: "polar_oat_nobody" };
  const refused = (request, inspect) =>
    assert.rejects(() => polar.customerSessions.create(request), (error) => {
      assert.ok(error instanceof sdk.errors.HTTPValidationError, `${error.name} is not HTTPValidationError`);
      assert.equal(error.statusCode, 422);
      inspect(error.error);
      return true;
    });
  await check("unknown customer is a typed error", () =>
    refused({ customer_id: randomUUID() }, (body) => {
      assert.equal(body.error, "PolarRequestValidationError");
      validationDetail(body.detail, "customer_id");
    }));
  await check("a request that names nobody is a typed error", () =>
    refused({}, (body) => {
      assert.equal(body.error, "RequestValidationError");
      assert.deepEqual(body.detail.map((entry) => [entry.type, ...entry.loc]), [
        ["missing", "body", "CustomerSessionCustomerIDCreate", "customer_id"],
        ["missing", "body", "CustomerSessionCustomerExternalIDCreate", "external_customer_id"],
      ]);
    }));
  await check("a member of an individual who has none is a typed error", () =>
    refused({ customer_id: target.customerID, member_id: randomUUID() }, (body) =>
      validationDetail(body.detail, "member_id")));
  await check("wrong key is a 401", () =>
    assert.rejects(
      () => polar.customerSessions.create({ customer_id: target.customerID }, stranger),
      unauthorized("invalid_token"),
    ));
}

// The SDK keeps the body of an error without a class of its own as text.
const unauthorized = (code) => (error) => {
  assert.ok(error instanceof PolarClientError, `${error.name} is not PolarClientError`);
  assert.equal(error.statusCode, 401);
  assert.equal(JSON.parse(error.error).error, code);
  return true;
};
