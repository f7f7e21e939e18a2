-- items.price (numeric, in euros) becomes items.price_cents (bigint). ALTER COLUMN … TYPE would
-- write the whole table anew while nobody can read it, and break every program that runs.
--
-- First deploy: this script, then programs that write both columns and read the old one.
-- The column may be null and has no default: nothing is written, and programs of the
-- version before do not see it. (A prepared SELECT * does, once a session: name the
-- columns.)
ALTER TABLE items ADD COLUMN price_cents bigint;

-- Then fill old rows, in batches of a few thousand and by an ordinary session, for that is
-- no schema change:
--
--   UPDATE items SET price_cents = price * 100 WHERE id BETWEEN … AND … AND price_cents IS NULL;
--
-- and go on with 2-index.sql.
