-- Backlogs: a unit that is due and waits for room at its next hop has -1 - WORKER as its owner. It
-- has left unit_due, so that no look for due units passes it again; its worker finds it by route.

CREATE INDEX unit_backlog ON unit (owner, route, message) WHERE owner < 0;

-- How much waits for each destination (`owner` makes it covering). A unit that is leased when it is
-- added never enters it.

CREATE INDEX unit_route ON unit (route, due, owner) WHERE owner IS NULL;
