//! What happened, in the database's `events` table.
