-- Harpoon's schema. Only `harpoon` touches it: api and worker read and write, `harpoon migrate` alone has DDL.
-- Times are unix milliseconds; ids come from id_blocks, a block per process at a time.

CREATE TABLE installation (
  id           CHAR(36) CHARACTER SET ascii NOT NULL,  -- random, made with the schema: in every job and domain
  writer_epoch BIGINT UNSIGNED NOT NULL,               -- raised by a promotion
  PRIMARY KEY (id)
) ENGINE=InnoDB;

CREATE TABLE id_blocks (
  name VARCHAR(32) CHARACTER SET ascii NOT NULL,       -- droplet, event, key …
  next BIGINT UNSIGNED NOT NULL,
  PRIMARY KEY (name)
) ENGINE=InnoDB;

CREATE TABLE accounts (
  id            BIGINT UNSIGNED NOT NULL,
  uuid          CHAR(36) CHARACTER SET ascii NOT NULL,
  email         VARCHAR(255) NOT NULL,
  name          VARCHAR(255) NOT NULL,
  droplet_limit INT UNSIGNED NOT NULL,                 -- 0: none
  droplets      INT UNSIGNED NOT NULL DEFAULT 0,       -- not deleted: exact, for meta.total and the limit
  rate_limited  BOOLEAN NOT NULL DEFAULT TRUE,
  created_at    BIGINT NOT NULL,
  PRIMARY KEY (id)
) ENGINE=InnoDB;

CREATE TABLE tokens (
  id         BIGINT UNSIGNED NOT NULL,
  account_id BIGINT UNSIGNED NOT NULL,
  hash       BINARY(32) NOT NULL,                      -- SHA-256 of the token; the token itself is kept nowhere
  name       VARCHAR(255) NOT NULL,
  read_only  BOOLEAN NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NULL,
  revoked_at BIGINT NULL,
  used_at    BIGINT NULL,
  PRIMARY KEY (id),
  UNIQUE KEY (hash)
) ENGINE=InnoDB;

CREATE TABLE regions (
  slug      VARCHAR(31) CHARACTER SET ascii NOT NULL,
  name      VARCHAR(255) NOT NULL,
  available BOOLEAN NOT NULL,
  features  VARCHAR(255) NOT NULL,                     -- comma separated
  PRIMARY KEY (slug)
) ENGINE=InnoDB;

CREATE TABLE sizes (
  slug          VARCHAR(63) CHARACTER SET ascii NOT NULL,
  description   VARCHAR(255) NOT NULL,
  vcpus         INT UNSIGNED NOT NULL,
  memory_mib    INT UNSIGNED NOT NULL,
  disk_gib      INT UNSIGNED NOT NULL,
  transfer_tb   DOUBLE NOT NULL,
  price_monthly DOUBLE NOT NULL,
  price_hourly  DOUBLE NOT NULL,
  available     BOOLEAN NOT NULL,
  PRIMARY KEY (slug)
) ENGINE=InnoDB;

CREATE TABLE images (
  id             BIGINT UNSIGNED NOT NULL,
  account_id     BIGINT UNSIGNED NULL,                 -- NULL: public
  slug           VARCHAR(63) CHARACTER SET ascii NULL,
  name           VARCHAR(255) NOT NULL,
  distribution   VARCHAR(63) NOT NULL,
  type           VARCHAR(15) CHARACTER SET ascii NOT NULL, -- base, snapshot, backup, custom
  min_disk_gib   INT UNSIGNED NOT NULL,
  size_gigabytes DOUBLE NOT NULL,
  description    VARCHAR(255) NOT NULL,
  url            VARCHAR(1024) NOT NULL,               -- where agents fetch it
  sha256         CHAR(64) CHARACTER SET ascii NOT NULL,
  created_at     BIGINT NOT NULL,
  deleted_at     BIGINT NULL,
  PRIMARY KEY (id),
  UNIQUE KEY (slug)
) ENGINE=InnoDB;

CREATE TABLE ssh_keys (
  id          BIGINT UNSIGNED NOT NULL,
  account_id  BIGINT UNSIGNED NOT NULL,
  name        VARCHAR(255) NOT NULL,
  fingerprint CHAR(47) CHARACTER SET ascii NOT NULL,   -- MD5, colons
  public_key  TEXT NOT NULL,
  PRIMARY KEY (id),
  UNIQUE KEY (account_id, fingerprint)
) ENGINE=InnoDB;

-- A row stays as a tombstone when the droplet is gone: an agent that still lists it learns that it may go.
CREATE TABLE droplets (
  id            BIGINT UNSIGNED NOT NULL,
  account_id    BIGINT UNSIGNED NOT NULL,
  name          VARCHAR(255) CHARACTER SET ascii NOT NULL,
  region        VARCHAR(31) CHARACTER SET ascii NOT NULL,
  size          VARCHAR(63) CHARACTER SET ascii NOT NULL,
  image_id      BIGINT UNSIGNED NOT NULL,
  vcpus         INT UNSIGNED NOT NULL,
  memory_mib    INT UNSIGNED NOT NULL,
  disk_gib      INT UNSIGNED NOT NULL,
  status        TINYINT UNSIGNED NOT NULL,             -- enum droplet_status of harpoon/droplet.h
  event_id      BIGINT UNSIGNED NOT NULL,              -- its unfinished event, 0: none
  hypervisor_id BIGINT UNSIGNED NOT NULL DEFAULT 0,    -- where it lives, 0: nowhere
  ipv4          INT UNSIGNED NULL,                     -- NULL once released
  private_ipv4  INT UNSIGNED NULL,
  created_at    BIGINT NOT NULL,
  deleted_at    BIGINT NULL,                           -- DELETE was accepted: GET is 404 from here
  gone_at       BIGINT NULL,                           -- nothing of it exists any more
  body          VARBINARY(1024) NOT NULL,              -- JSON of what the API shows beside the columns
  PRIMARY KEY (id),
  KEY account_droplets (account_id, deleted_at, id),   -- lists skip the tombstones
  KEY account_names (account_id, name),
  UNIQUE KEY (ipv4),
  UNIQUE KEY (region, private_ipv4)
) ENGINE=InnoDB;

CREATE TABLE droplet_tags (
  account_id BIGINT UNSIGNED NOT NULL,
  tag        VARCHAR(255) CHARACTER SET ascii NOT NULL,
  droplet_id BIGINT UNSIGNED NOT NULL,
  PRIMARY KEY (account_id, tag, droplet_id),
  KEY (droplet_id)
) ENGINE=InnoDB;

-- One row is our work behind an action, and the action the API shows. While it is unfinished, check_at says when
-- someone must look again: the pending row is the outbox.
CREATE TABLE events (
  id             BIGINT UNSIGNED NOT NULL,
  droplet_id     BIGINT UNSIGNED NOT NULL,
  account_id     BIGINT UNSIGNED NOT NULL,
  type           TINYINT UNSIGNED NOT NULL,            -- enum event_type of harpoon/event.h
  region         VARCHAR(31) CHARACTER SET ascii NOT NULL,
  state          TINYINT UNSIGNED NOT NULL,            -- enum event_state
  attempt        SMALLINT UNSIGNED NOT NULL,
  hypervisor_id  BIGINT UNSIGNED NOT NULL DEFAULT 0,   -- of this attempt, once dispatched
  journal_id     BINARY(16) NOT NULL DEFAULT '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0',
  reason         SMALLINT UNSIGNED NOT NULL DEFAULT 0, -- enum event_reason: why it waits or failed
  check_at       BIGINT NULL,                          -- NULL once final
  deadline       BIGINT NULL,                          -- NULL: none (destroy, cleanup)
  created_at     BIGINT NOT NULL,
  t_waiting      BIGINT NULL,                          -- this attempt found no connection first
  t_placed       BIGINT NULL,
  t_dispatched   BIGINT NULL,
  t_running      BIGINT NULL,
  t_done         BIGINT NULL,
  replay_of      BIGINT UNSIGNED NOT NULL DEFAULT 0,
  replayed_as    BIGINT UNSIGNED NOT NULL DEFAULT 0,
  excluded       VARBINARY(256) NOT NULL DEFAULT '',   -- hypervisors of earlier attempts, 8 bytes each, big endian
  params         MEDIUMBLOB NOT NULL,                  -- harpoon.event.v1.Params
  PRIMARY KEY (id),
  KEY account_events (account_id, id, type),           -- counted without the rows
  KEY droplet_events (droplet_id, id),
  KEY (check_at)
) ENGINE=InnoDB;

-- What the columns of `events` do not tell: retries, failures, operators.
CREATE TABLE event_log (
  event_id      BIGINT UNSIGNED NOT NULL,
  seq           BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  at            BIGINT NOT NULL,
  what          VARCHAR(63) CHARACTER SET ascii NOT NULL,
  attempt       SMALLINT UNSIGNED NOT NULL,
  hypervisor_id BIGINT UNSIGNED NOT NULL DEFAULT 0,
  actor         VARCHAR(63) NOT NULL,
  detail        VARCHAR(255) NOT NULL,
  PRIMARY KEY (event_id, seq),
  KEY (seq)
) ENGINE=InnoDB;

-- The publish time of the newest message that workers took from a queue, or now when it is idle: what is younger is
-- still queued and need not be published again.
CREATE TABLE queues (
  name     VARCHAR(63) CHARACTER SET ascii NOT NULL,
  taken_at BIGINT NOT NULL,
  PRIMARY KEY (name)
) ENGINE=InnoDB;

-- Hypervisors of which an operator vouches that they are powered off or wiped.
CREATE TABLE fences (
  hypervisor_id BIGINT UNSIGNED NOT NULL,
  region        VARCHAR(31) CHARACTER SET ascii NOT NULL,
  at            BIGINT NOT NULL,
  actor         VARCHAR(255) NOT NULL,
  reason        VARCHAR(255) NOT NULL,
  jobs_open     INT UNSIGNED NULL,                     -- as its agent last said when it attached fenced
  domains       INT UNSIGNED NULL,
  PRIMARY KEY (hypervisor_id)
) ENGINE=InnoDB;

-- Addresses are handed out ascending, a block per process at a time; released ones return to address_free.
CREATE TABLE address_blocks (
  region VARCHAR(31) CHARACTER SET ascii NOT NULL,
  kind   TINYINT UNSIGNED NOT NULL,                    -- 4: public v4, 14: private v4
  first  INT UNSIGNED NOT NULL,
  size   INT UNSIGNED NOT NULL,
  used   INT UNSIGNED NOT NULL,
  PRIMARY KEY (region, kind)
) ENGINE=InnoDB;

CREATE TABLE address_free (
  region  VARCHAR(31) CHARACTER SET ascii NOT NULL,
  kind    TINYINT UNSIGNED NOT NULL,
  address INT UNSIGNED NOT NULL,
  PRIMARY KEY (region, kind, address)
) ENGINE=InnoDB;
