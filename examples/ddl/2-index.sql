-- Still the first deploy. Alone in its script: it cannot run in a transaction block. It
-- locks out neither readers nor writers, on no server.
CREATE INDEX CONCURRENTLY items_price_cents ON items (price_cents);
