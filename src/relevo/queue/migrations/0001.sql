-- The queue: messages, their units, and the history of everything that happened to mail.
-- Times are seconds since the epoch; envelope, recipients and event data are JSON.

CREATE TABLE message (
    id TEXT PRIMARY KEY,
    created REAL NOT NULL,
    size INTEGER NOT NULL,      -- octets of the content
    envelope BLOB NOT NULL,
    content BLOB,               -- small content; NULL: it stands in `file`
    file TEXT,                  -- name of a segment or of a file of its own in spool/
    start INTEGER               -- where the record begins in a segment
);

-- Which spool files are alive. Messages inside the database cost nothing here.
CREATE INDEX message_file ON message (file) WHERE file IS NOT NULL;

CREATE TABLE unit (
    message TEXT NOT NULL,
    number INTEGER NOT NULL,
    route TEXT NOT NULL,
    due REAL NOT NULL,          -- the next try; of a leased unit: the one before
    attempts INTEGER NOT NULL,
    owner INTEGER,              -- the worker that is trying it; NULL: waiting
    recipients BLOB NOT NULL,
    PRIMARY KEY (message, number)
) WITHOUT ROWID;

CREATE INDEX unit_due ON unit (due) WHERE owner IS NULL;
CREATE INDEX unit_owner ON unit (owner) WHERE owner IS NOT NULL;

-- A message goes with its last unit.
CREATE TRIGGER unit_gone AFTER DELETE ON unit
WHEN NOT EXISTS (SELECT 1 FROM unit WHERE message = OLD.message)
BEGIN
    DELETE FROM message WHERE id = OLD.message;
END;

-- History. `message` begins with the time (relevo.queue.ids), also where an event belongs to no
-- message, so that the order of the key is the order of age and pruning takes from one end.
CREATE TABLE event (
    message TEXT NOT NULL,
    n INTEGER NOT NULL,         -- microseconds, times 64, plus who wrote it
    time REAL NOT NULL,
    kind TEXT NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (message, n)
) WITHOUT ROWID;

-- What would cost a scan to count. One row, changed in the transactions that change the counts.
CREATE TABLE counter (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    messages INTEGER NOT NULL,
    events INTEGER NOT NULL,
    generation INTEGER NOT NULL -- the last one given to a worker
);

INSERT INTO counter VALUES (1, 0, 0, 0);
