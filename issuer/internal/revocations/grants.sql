
-- The server and the commands need no more than this. Put the name of your role
-- in the place of customersession.
GRANT SELECT, INSERT ON customersession_revocations TO customersession;
GRANT SELECT, INSERT, UPDATE, DELETE ON customersession_redemptions TO customersession;

-- Old redemptions are dropped by the server. Old revocations are dropped by a job of your own, such as once an hour, with a role
-- that may SELECT and DELETE. It keeps the name of the table, the highest version
-- of the key manifest, and the newest row, which holds the number of the log.
--
--   DELETE FROM customersession_revocations AS old
--   WHERE drop_at < now() AND scope <> 'log'
--     AND seq < (SELECT max(seq) FROM customersession_revocations)
--     AND seq IS DISTINCT FROM (SELECT seq FROM customersession_revocations
--       WHERE scope = 'manifest' ORDER BY id::numeric DESC, seq DESC LIMIT 1);
