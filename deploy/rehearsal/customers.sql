CREATE TABLE customers (
  id uuid NOT NULL,
  organization_id uuid NOT NULL,
  external_id text,
  email text NOT NULL,
  name text,
  PRIMARY KEY (organization_id, id),
  UNIQUE (organization_id, external_id)
);
INSERT INTO customers VALUES (
  '992fae2a-2a17-4b7a-8d9e-e287cf90131b', '1dbfc517-0bbf-4301-9ba8-555ca42b9737',
  'user_ada', 'ada@example.com', 'Ada Lovelace'
);
