-- The revocation log of customersession, and the redemptions beside it. Running
-- this again changes nothing.
CREATE TABLE IF NOT EXISTS customersession_revocations (
  seq             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  scope           text NOT NULL,
  organization_id uuid NOT NULL,
  id              text NOT NULL CHECK (scope <> 'manifest' OR id ~ '^[0-9]{1,19}$'),
  issued_before   timestamptz,
  drop_at         timestamptz NOT NULL,
  appended_at     timestamptz NOT NULL
);

-- The first row names the table.
INSERT INTO customersession_revocations (scope, organization_id, id, drop_at, appended_at)
SELECT 'log', '00000000-0000-0000-0000-000000000000', gen_random_uuid(), 'infinity', clock_timestamp()
WHERE NOT EXISTS (SELECT FROM customersession_revocations WHERE scope = 'log');

-- Which entry has the highest version of the key manifest, and which row is the
-- name of the table.
CREATE INDEX IF NOT EXISTS customersession_revocations_manifest
  ON customersession_revocations ((id::numeric), seq) WHERE scope = 'manifest';
CREATE UNIQUE INDEX IF NOT EXISTS customersession_revocations_log
  ON customersession_revocations (scope) WHERE scope = 'log';

-- Which codes of links have been redeemed: a session has one.
CREATE TABLE IF NOT EXISTS customersession_redemptions (
  session_id  uuid PRIMARY KEY,
  attempt     bytea NOT NULL,
  redeemed_at timestamptz NOT NULL,
  drop_at     timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS customersession_redemptions_drop_at
  ON customersession_redemptions (drop_at);
