-- Clients remember which xorbs a content store has, under its address, for weeks. The address has this number in it, so
-- that they ask anew after the store lost something.
CREATE TABLE cas_epoch (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    epoch INTEGER NOT NULL
) STRICT;
INSERT INTO cas_epoch (id, epoch) VALUES (1, 1);
