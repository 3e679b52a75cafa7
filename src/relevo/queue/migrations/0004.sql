-- What senders wish (relevo.queue.wishes). Only units of messages with such a wish have values.

-- Orders the backlog of a route, in the form of a message's id; NULL: by the id itself.
ALTER TABLE unit ADD COLUMN place TEXT;
-- When a unit is to be looked at though its route has no room; seconds since the epoch.
ALTER TABLE unit ADD COLUMN expires REAL;
-- Before its first try a unit waits for an interval (1) or a date (2).
ALTER TABLE unit ADD COLUMN hold INTEGER;
ALTER TABLE unit ADD COLUMN sequence TEXT AS (ifnull(place, message)) VIRTUAL;

DROP INDEX unit_backlog;
CREATE INDEX unit_backlog ON unit (owner, route, sequence, number) WHERE owner < 0;
CREATE INDEX unit_expires ON unit (expires) WHERE expires IS NOT NULL;
