// @polar-sh/sdk 0.32: calls the external ID customer_external_id, and fails
// when avatar_url is null or when external_id or deleted_at is left out.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { Polar } from "polar-sdk-old";
import { HTTPValidationError } from "polar-sdk-old/models/errors/httpvalidationerror.js";
import { memberMistake, memberMistakes, typedSession, validationDetail } from "./shapes.mjs";

export async function checkPolarOld(target, report) {
  const polar = new Polar({ accessToken: target.apiKey, serverURL: target.baseURL });
  const check = (name, run) => report.check(`sdk 0.32: ${name}`, run);
  const create = async (request) => {
    const session = await polar.customerSessions.create(request);
    report.hide(session.token);
    typedSession(session, target);
  };

  await check("create by customer ID", () => create({ customerId: target.customerID }));
  await check("create by customer_external_id", () =>
    create({ customerExternalId: target.externalID }));
  await check("unknown customer_external_id is a typed error", () =>
    assert.rejects(
      () => polar.customerSessions.create({ customerExternalId: `nobody-${randomUUID()}` }),
      (error) => {
        assert.ok(error instanceof HTTPValidationError, `${error.name} is not HTTPValidationError`);
        // The place has the newer name, as on Polar's server.
        validationDetail(error.detail, "external_customer_id");
        return true;
      },
    ));
  // It cannot name a member.
  await check("a team is a typed error", () =>
    assert.rejects(
      () => polar.customerSessions.create({ customerId: target.team.customerID }),
      (error) => {
        assert.ok(error instanceof HTTPValidationError, `${error.name} is not HTTPValidationError`);
        memberMistake(error.detail, memberMistakes.required);
        return true;
      },
    ));
}
