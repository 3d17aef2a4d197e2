-- The scheduler's schema. Only `scheduler` touches it: `scheduler serve` reads and writes, `scheduler migrate` alone
-- has DDL. Times are unix milliseconds. Every write to hypervisors and claims of a region happens in a transaction that
-- has read the region's lease with the writer's epoch and holds that row, so a region has one writer.

CREATE TABLE leases (
  region  VARCHAR(31) CHARACTER SET ascii NOT NULL,
  epoch   BIGINT UNSIGNED NOT NULL,                    -- raised by whoever takes it: fences the one before
  holder  VARCHAR(255) CHARACTER SET ascii NOT NULL,   -- the leader's address; empty: given back, take it at once
  counter BIGINT UNSIGNED NOT NULL,                    -- raised twice a second by the leader: it lives
  PRIMARY KEY (region)
) ENGINE=InnoDB;

CREATE TABLE hypervisors (
  id          BIGINT UNSIGNED NOT NULL,
  region      VARCHAR(31) CHARACTER SET ascii NOT NULL,
  status      TINYINT UNSIGNED NOT NULL,               -- enum hypervisor_status of scheduler/rank/fleet.h
  journal_id  BINARY(16) NOT NULL,                     -- the last one whose domains were compared; zeros: none yet
  vcpus       INT UNSIGNED NOT NULL,
  memory_mib  INT UNSIGNED NOT NULL,
  disk_gib    INT UNSIGNED NOT NULL,
  created_at  BIGINT NOT NULL,
  seen_minute INT UNSIGNED NOT NULL,                   -- unix minutes, as of the last write
  PRIMARY KEY (id),
  KEY region_hypervisors (region, id)
) ENGINE=InnoDB;

-- Capacity taken for (event, attempt) until released. The region leads the key so that a new leader reads its claims,
-- and no others, in one range; within it ids ascend.
CREATE TABLE claims (
  region        VARCHAR(31) CHARACTER SET ascii NOT NULL,
  event_id      BIGINT UNSIGNED NOT NULL,
  attempt       SMALLINT UNSIGNED NOT NULL,
  droplet_id    BIGINT UNSIGNED NOT NULL,
  hypervisor_id BIGINT UNSIGNED NOT NULL,
  vcpus         INT UNSIGNED NOT NULL,
  memory_mib    INT UNSIGNED NOT NULL,
  disk_gib      INT UNSIGNED NOT NULL,
  at            BIGINT NOT NULL,
  PRIMARY KEY (region, event_id, attempt),
  KEY hypervisor_claims (hypervisor_id)
) ENGINE=InnoDB;
