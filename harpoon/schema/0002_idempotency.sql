-- Answers to requests that carried an Idempotency-Key, stored in the transaction that did what was asked. Rows are
-- appended, found by the key, and removed from the old end a day later.
CREATE TABLE idempotency (
  id         BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  account_id BIGINT UNSIGNED NOT NULL,
  name       VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, -- the key, as the client chose it
  hash       BINARY(32) NOT NULL,                                         -- of method, path and body
  status     SMALLINT UNSIGNED NOT NULL,
  created_at BIGINT NOT NULL,
  answer     MEDIUMBLOB NOT NULL,                                         -- the body that was answered
  PRIMARY KEY (id),
  UNIQUE KEY (account_id, name)
) ENGINE=InnoDB;

-- An address finds one account; an account's tokens are listed.
ALTER TABLE accounts ADD UNIQUE KEY (email);
ALTER TABLE tokens ADD KEY account_tokens (account_id, id);
