-- What was seen of other domains' transport security; levels as in relevo.queue.levels.
-- Only domains with a level above 0 have a row.

CREATE TABLE domain (
    name TEXT PRIMARY KEY,      -- normalized
    incoming INTEGER NOT NULL,  -- the best their mail came to us with
    outgoing INTEGER NOT NULL,  -- the best our mail went to them with
    seen REAL NOT NULL          -- when a level was last met; seconds since the epoch
) WITHOUT ROWID;

CREATE INDEX domain_seen ON domain (seen);
