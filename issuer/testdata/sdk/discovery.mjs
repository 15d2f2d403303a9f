// A consumer in another language: jose, knowing only the issuer and audience.

import assert from "node:assert/strict";
import { createRemoteJWKSet, errors, jwtVerify } from "jose";

// checkTokens verifies the token of a session of wireSession's shape.
export async function checkTokens(target, report, session) {
  const check = (name, run) => report.check(`jose: ${name}`, run);
  const metadata = await check("discovery names the issuer and the key set", () =>
    discover(target.issuer));
  const keys = createRemoteJWKSet(new URL(metadata.jwks_uri));
  const verify = (token, want = {}) =>
    jwtVerify(token, keys, {
      issuer: target.issuer,
      audience: target.audience,
      typ: "customer-session+jwt",
      algorithms: [target.algorithm],
      requiredClaims: ["sub", "sid", "org", "iat", "exp", "scope"],
      ...want,
    });

  await check("verifies the token", async () => {
    const { payload, protectedHeader } = await verify(session.token);
    compareClaims(payload, target, session);
    assert.deepEqual(Object.keys(protectedHeader).sort(), ["alg", "kid", "typ"]);
  });
  await check("refuses another audience or issuer", async () => {
    const claim = { code: errors.JWTClaimValidationFailed.code };
    await assert.rejects(() => verify(session.token, { audience: "someone-else" }), claim);
    await assert.rejects(() => verify(session.token, { issuer: `${target.issuer}/` }), claim);
  });
  for (const [index, part] of [[2, "signature"], [1, "payload"]]) {
    await check(`refuses one changed byte of the ${part}`, async () => {
      for (const altered of alterations(session.token, index)) {
        report.hide(altered);
        await assert.rejects(() => verify(altered), {
          code: errors.JWSSignatureVerificationFailed.code,
        });
        await refusedByPortal(target.baseURL, altered);
      }
    });
  }
}

// discover follows OpenID Connect Discovery 1.0, Section 4: the path is put
// after the issuer, and the issuer in the answer must be the very same string.
async function discover(issuer) {
  const metadata = await fetchJSON(`${issuer}/.well-known/openid-configuration`);
  assert.equal(metadata.issuer, issuer);
  assert.equal(typeof metadata.jwks_uri, "string");
  assert.ok(Array.isArray(metadata.id_token_signing_alg_values_supported));
  return metadata;
}

async function fetchJSON(url) {
  const response = await fetch(url, { redirect: "error" });
  assert.equal(response.status, 200, `status of ${url}`);
  assert.match(response.headers.get("content-type") ?? "", /^application\/json\b/);
  return response.json();
}

function compareClaims(payload, target, session) {
  assert.equal(payload.sub, target.customerID);
  assert.equal(payload.sid, session.id);
  assert.equal(payload.org, session.customer.organization_id);
  assert.equal(payload.aud, target.audience);
  assert.equal(payload.return_url ?? null, session.return_url);
  assert.equal(payload.scope, "customer_portal:write");
  assert.match(payload.client_id, /^[A-Za-z0-9_-]{8}$/);
  assert.equal(payload.exp * 1000, Date.parse(session.expires_at));
  assert.equal(payload.iat * 1000, Date.parse(session.created_at));
  const known = ["aud", "client_id", "exp", "iat", "iss", "org", "return_url", "scope", "sid", "sub"];
  const besides = Object.keys(payload).filter((name) => !known.includes(name));
  assert.deepEqual(besides, [], "the token holds more than it should");
}

// alterations returns the token with one bit of one byte changed, for the
// first, the middle and the last byte of one part.
function alterations(token, index) {
  const parts = token.split(".");
  const bytes = Buffer.from(parts[index], "base64url");
  return [0, bytes.length >> 1, bytes.length - 1].map((at) => {
    const changed = Buffer.from(bytes);
    changed[at] ^= 1;
    return parts.with(index, changed.toString("base64url")).join(".");
  });
}

async function refusedByPortal(baseURL, token) {
  const response = await fetch(`${baseURL}/v1/customer-portal/customer-session/introspect`, {
    headers: { Authorization: `Bearer ${token}` },
  });
  await response.body?.cancel();
  assert.equal(response.status, 401, "the portal accepted an altered token");
}
