// @polar-sh/sdk 0.49: validates every answer against its own schema.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { Polar } from "polar-sdk-0";
import { HTTPValidationError } from "polar-sdk-0/models/errors/httpvalidationerror.js";
import { SDKError } from "polar-sdk-0/models/errors/sdkerror.js";
import { memberMistake, memberMistakes, typedSession, validationDetail } from "./shapes.mjs";

export async function checkPolar0(target, report) {
  const { baseURL: serverURL, apiKey, customerID: customerId, externalID } = target;
  const polar = new Polar({ accessToken: apiKey, serverURL });
  const check = (name, run) => report.check(`sdk 0.49: ${name}`, run);
  const create = async (request, client = polar) => {
    const session = await client.customerSessions.create(request);
    report.hide(session.token);
    typedSession(session, target);
    return session;
  };

  await check("create by customer ID", async () => {
    const session = await create({ customerId });
    assert.equal(session.returnUrl, null);
  });
  await check("create by external ID", () => create({ externalCustomerId: externalID }));
  await check("create with null members", () =>
    create({ customerId, memberId: null, externalMemberId: null, returnUrl: null }));
  await check("create with a slash after the base URL", () =>
    create({ customerId }, new Polar({ accessToken: apiKey, serverURL: `${serverURL}/` })));

  const returnUrl = "https://shop.example.com/back?order=17&from=mail";
  const session = await check("create with a return URL", async () => {
    const created = await create({ customerId, returnUrl });
    assert.equal(created.returnUrl, returnUrl);
    return created;
  });
  await checkPortal(check, polar, target, session);
  await checkErrors(check, polar, serverURL, customerId);
  await checkMembers(check, polar, target.team, report);
}

async function checkMembers(check, polar, team, report) {
  const { customerID: customerId, externalID: externalCustomerId, memberID: memberId, externalMemberID: externalMemberId } = team;
  const create = async (request) => {
    const session = await polar.customerSessions.create(request);
    report.hide(session.token);
    typedSession(session, team);
    assert.equal(session.customer.type, "team");
    return session;
  };
  const session = await check("create for a member by ID", () => create({ customerId, memberId }));
  await check("create for a member by external ID", () => create({ externalCustomerId, externalMemberId }));
  await check("portal user of a member", async () => {
    const user = await polar.customerPortal.customerSession.getAuthenticatedUser({ customerSession: session.token });
    assert.equal(user.type, "member");
    assert.equal(user.email, team.memberEmail);
    assert.equal(user.customerId, team.customerID);
    assert.equal(user.memberId, memberId);
    assert.equal(user.role, team.role);
  });
  const refused = (request, want) =>
    assert.rejects(() => polar.customerSessions.create(request), (error) => {
      assert.ok(error instanceof HTTPValidationError, `${error.name} is not HTTPValidationError`);
      memberMistake(error.detail, want);
      return true;
    });
  await check("a team without a member is a typed error", () => refused({ customerId }, memberMistakes.required));
  await check("unknown member ID is a typed error", () =>
    refused({ customerId, memberId: randomUUID() }, memberMistakes.absent("member_id")));
  await check("unknown external member ID is a typed error", () =>
    refused({ externalCustomerId, externalMemberId: `nobody-${randomUUID()}` }, memberMistakes.absent("external_member_id")));
}

async function checkPortal(check, polar, target, session) {
  const portal = polar.customerPortal.customerSession;
  const holder = { customerSession: session.token };
  await check("portal introspect", async () => {
    const answer = await portal.introspect(holder);
    assert.deepEqual(answer, { expiresAt: session.expiresAt, returnUrl: session.returnUrl });
  });
  await check("portal user", async () => {
    const user = await portal.getAuthenticatedUser(holder);
    assert.equal(user.type, "customer");
    assert.equal(user.email, target.customerEmail);
    assert.equal(user.customerId, target.customerID);
    assert.equal(user.memberId, null);
    assert.equal(user.role, null);
  });
  await check("portal refuses an API key", () =>
    assert.rejects(() => portal.introspect({ customerSession: target.apiKey }), unauthorized));
}

async function checkErrors(check, polar, serverURL, customerId) {
  const refused = (request, member) =>
    assert.rejects(() => polar.customerSessions.create(request), (error) => {
      assert.ok(error instanceof HTTPValidationError, `${error.name} is not HTTPValidationError`);
      assert.equal(error.statusCode, 422);
      validationDetail(error.detail, member);
      return true;
    });
  await check("unknown customer ID is a typed error", () =>
    refused({ customerId: randomUUID() }, "customer_id"));
  await check("unknown external ID is a typed error", () =>
    refused({ externalCustomerId: `nobody-${randomUUID()}` }, "external_customer_id"));
  await check("bad return URL is a typed error", () =>
    refused({ customerId, returnUrl: "javascript:alert(1)" }, "return_url"));
  await check("wrong key is a 401", () => {
    const stranger = new Polar({ accessToken: "polar_oat_nobody", serverURL });
    return assert.rejects(() => stranger.customerSessions.create({ customerId }), unauthorized);
  });
}

// The SDK has no class of its own for 401: it falls to SDKError.
function unauthorized(error) {
  assert.ok(error instanceof SDKError, `${error.name} is not SDKError`);
  assert.equal(error.statusCode, 401);
  assert.match(error.headers.get("www-authenticate") ?? "", /^Bearer /);
  return true;
}
