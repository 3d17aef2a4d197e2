-- The tags of accounts, with or without droplets. The first spelling is the one that is shown; the case of letters makes
-- no other tag.
CREATE TABLE tags (
  account_id BIGINT UNSIGNED NOT NULL,
  tag        VARCHAR(255) CHARACTER SET ascii NOT NULL,
  PRIMARY KEY (account_id, tag)
) ENGINE=InnoDB;

INSERT INTO tags (account_id, tag) SELECT account_id, MIN(tag) FROM droplet_tags GROUP BY account_id, tag;

-- Neighbors: droplets of an account on one hypervisor, and all such groups, from the key alone.
ALTER TABLE droplets ADD KEY account_hypervisors (account_id, hypervisor_id, deleted_at);
