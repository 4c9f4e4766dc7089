-- Version 2 of the tables. notify_channel: where events are announced. PostgreSQL lets every role of the database LISTEN to
-- any channel, and notifications have small events in them, so its name is a secret: who may read this table knows it.
ALTER TABLE {schema}.state ADD COLUMN notify_channel text NOT NULL DEFAULT '';
UPDATE {schema}.state SET notify_channel = {secret};
