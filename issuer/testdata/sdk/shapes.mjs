// What a session must look like, as the wire has it. The 1.x SDK hands the
// answer over unchecked, so every member and its type is checked here.

import assert from "node:assert/strict";

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const uuid4 = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const wholeSecond = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;
const instant = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/;
const compactJWS = /^[\w-]+\.[\w-]+\.[\w-]+$/;

// A tester reads one member and throws unless it has the right type.
const text = (value, name) => assert.equal(typeof value, "string", `${name} is not a string`);
const matching = (pattern) => (value, name) => {
  text(value, name);
  // Not assert.match: it would print the value, which may be a token.
  assert.ok(pattern.test(value), `${name} does not match ${pattern}`);
};
const nullable = (tester) => (value, name) => value === null || tester(value, name);
const flag = (value, name) => assert.equal(typeof value, "boolean", `${name} is not a boolean`);

function metadata(value, name) {
  assert.ok(value && typeof value === "object" && !Array.isArray(value), `${name} is not an object`);
  for (const [key, item] of Object.entries(value)) {
    assert.ok(["string", "number", "boolean"].includes(typeof item), `${name}.${key} is not flat`);
  }
}

function address(value, name) {
  members(value, name, {
    country: matching(/^[A-Z]{2}$/),
    line1: nullable(text),
    line2: nullable(text),
    postal_code: nullable(text),
    city: nullable(text),
    state: nullable(text),
  });
}

function taxID(value, name) {
  assert.ok(Array.isArray(value) && value.length === 2, `${name} is not a pair`);
  value.forEach((part, i) => text(part, `${name}[${i}]`));
}

function link(value, name) {
  text(value, name);
  assert.ok(["http:", "https:"].includes(new URL(value).protocol), `${name} is not http or https`);
}

// members demands exactly the members of want: none missing, none besides.
export function members(value, name, want) {
  assert.ok(value && typeof value === "object", `${name} is not an object`);
  assert.deepEqual(Object.keys(value).sort(), Object.keys(want).sort(), `members of ${name}`);
  for (const [key, tester] of Object.entries(want)) {
    tester(value[key], `${name}.${key}`);
  }
}

function customer(value, name) {
  members(value, name, {
    id: matching(uuid),
    organization_id: matching(uuid),
    created_at: matching(instant),
    modified_at: nullable(matching(instant)),
    deleted_at: (v) => assert.equal(v, null, "a deleted customer got a session"),
    first_user_event_at: nullable(matching(instant)),
    metadata,
    external_id: nullable(text),
    name: nullable(text),
    billing_name: nullable(text),
    locale: nullable(text),
    default_payment_method_id: nullable(matching(uuid)),
    email: text,
    email_verified: flag,
    type: matching(/^(individual|team)$/),
    billing_address: nullable(address),
    tax_id: nullable(taxID),
    avatar_url: link,
  });
}

// wireSession checks a session as JSON has it, members in snake case.
export function wireSession(session, target) {
  members(session, "session", {
    created_at: matching(wholeSecond),
    modified_at: nullable(matching(wholeSecond)),
    id: matching(uuid4),
    token: matching(compactJWS),
    expires_at: matching(wholeSecond),
    return_url: nullable(link),
    customer_portal_url: link,
    customer_id: matching(uuid),
    customer,
  });
  assert.equal(session.customer_id, target.customerID);
  assert.equal(session.customer.id, target.customerID);
  assert.equal(session.customer.external_id, target.externalID);
  assert.equal(session.customer.email, target.customerEmail);
  assert.equal(session.customer.type, target.memberID ? "team" : "individual");
  if (target.organizationID) {
    assert.equal(session.customer.organization_id, target.organizationID);
  }
  lifetime(new Date(session.created_at), new Date(session.expires_at));
  portalURL(session.customer_portal_url, session.token, target.link);
}

// typedSession checks a session as a 0.x SDK gives it: members in camel case,
// times as Date. The SDK itself has already refused members of a wrong type.
export function typedSession(session, target) {
  for (const name of ["createdAt", "expiresAt"]) {
    assert.ok(session[name] instanceof Date, `${name} is not a Date`);
  }
  matching(uuid4)(session.id, "id");
  matching(compactJWS)(session.token, "token");
  assert.equal(session.customerId, target.customerID);
  assert.equal(session.customer.id, target.customerID);
  assert.equal(session.customer.externalId, target.externalID);
  assert.equal(session.customer.email, target.customerEmail);
  assert.equal(typeof session.customer.emailVerified, "boolean");
  assert.equal(session.customer.deletedAt, null);
  assert.ok(session.customer.createdAt instanceof Date, "customer.createdAt is not a Date");
  metadata(session.customer.metadata, "customer.metadata");
  link(session.customer.avatarUrl, "customer.avatarUrl");
  if (target.organizationID) {
    assert.equal(session.customer.organizationId, target.organizationID);
  }
  lifetime(session.createdAt, session.expiresAt);
  portalURL(session.customerPortalUrl, session.token, target.link);
}

function lifetime(from, to) {
  const seconds = (to - from) / 1000;
  assert.ok(Number.isInteger(seconds), "the lifetime is not whole seconds");
  assert.ok(seconds >= 60 && seconds <= 24 * 3600, `the lifetime is ${seconds} s`);
}

// portalURL checks a link that holds a token, or a code.
function portalURL(address, token, link = "token") {
  const url = new URL(address);
  const parameter = `customer_session_${link}`;
  const carried = url.searchParams.getAll(parameter);
  assert.equal(carried.length, 1, `the portal link holds not exactly one ${link}`);
  if (link === "token") {
    assert.ok(carried[0] === token, "the portal link holds another token");
  } else {
    assert.ok(!address.includes(token), "the portal link holds the token");
  }
  // Clients append to the link, the way an e-mail campaign adds utm_source.
  url.searchParams.set("added", "1");
  assert.ok(
    new URL(url.href).searchParams.get(parameter) === carried[0],
    "it does not survive one more query parameter",
  );
}

// portalUser checks the answer about the holder of a token, in snake case. With a
// team as the target, that is its member.
export function portalUser(user, target) {
  members(user, "user", {
    type: matching(target.memberID ? /^member$/ : /^customer$/),
    name: nullable(text),
    email: text,
    customer_id: matching(uuid),
    member_id: (v) => assert.equal(v, target.memberID ?? null),
    role: (v) => assert.equal(v, target.role ?? null),
  });
  assert.equal(user.email, target.memberEmail ?? target.customerEmail);
  assert.equal(user.customer_id, target.customerID);
}

// The two mistakes about members, with the words of Polar's server.
export const memberMistakes = {
  required: { loc: ["body", "member_id"], msg: "member_id is required for team customers.", type: "value_error" },
  absent: (member) => ({ loc: ["body", member], msg: "Member does not exist for this customer.", type: "value_error" }),
};

// memberMistake checks that the one entry of a 422 is such a mistake.
export function memberMistake(detail, want) {
  assert.equal(detail.length, 1);
  const { loc, msg, type } = detail[0];
  assert.deepEqual({ loc, msg, type }, want);
}

// validationDetail checks the entries of a 422 and that one of them is about
// the member.
export function validationDetail(detail, member) {
  assert.ok(Array.isArray(detail) && detail.length > 0, "detail is not a list with an entry");
  for (const entry of detail) {
    assert.ok(Array.isArray(entry.loc) && entry.loc[0] === "body", "loc does not begin with body");
    text(entry.msg, "msg");
    text(entry.type, "type");
  }
  assert.ok(
    detail.some((entry) => entry.loc.includes(member)),
    `no entry is about ${member}`,
  );
}
