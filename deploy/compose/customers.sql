-- Customers as the issuer's default queries look for them, two of them, and a
-- role that may read them and nothing else.
CREATE TABLE customers (
  id uuid PRIMARY KEY,
  organization_id uuid NOT NULL,
  external_id text,
  email text NOT NULL,
  name text,
  created_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (organization_id, external_id)
);

INSERT INTO customers (id, organization_id, external_id, email, name) VALUES
  ('992fae2a-2a17-4b7a-8d9e-e287cf90131b', '1dbfc517-0bbf-4301-9ba8-555ca42b9737', 'user_ada', 'ada@example.com', 'Ada Lovelace'),
  ('3f1c2d5e-8a4b-4c6d-9e7f-0a1b2c3d4e5f', '1dbfc517-0bbf-4301-9ba8-555ca42b9737', 'user_alan', 'alan@example.com', 'Alan Turing');

\set password `cat /run/database/issuer`
CREATE ROLE issuer LOGIN PASSWORD :'password';
GRANT SELECT ON customers TO issuer;
-- Which everybody has otherwise: temporary tables.
REVOKE TEMPORARY ON DATABASE shop FROM PUBLIC;
