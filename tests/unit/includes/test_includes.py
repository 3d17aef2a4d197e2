"""Which file may include what: the roads of the house, checked line by line."""

import pathlib
import re
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
ROOMS = {"proto", "lib", "harpoon", "scheduler", "eventrouter", "hypervisor-agent", "harpoonctl", "console"}
SHARED = {"lib", "proto"}
# What a folder may see beside itself; a room that is not named here sees lib/ and proto/.
EVERYTHING = {"tests", "bench"}
# A foreign library has one door: (header, the paths that may include it).
DOORS = [
    (re.compile(r"^(mysql|mariadb|errmsg|mysqld_error)\b.*\.h$|^(mysql|mariadb)/"), ["lib/sql/"]),
    (re.compile(r"^amqp.*\.h$|^rabbitmq-c/"), ["lib/amqp/"]),
    (re.compile(r"^grpc/"), ["lib/rpc/"]),
    (re.compile(r"^microhttpd\.h$"), ["lib/http/", "lib/daemon.c"]),
]
# Decisions: functions of (state, input, now). No effect, no clock, no thread.
PURE = [
    re.compile(r"^harpoon/event\.[ch]$"),
    re.compile(r"^scheduler/rank/"),
    re.compile(r"^eventrouter/route\.[ch]$"),
    re.compile(r"^hypervisor-agent/jobs\.[ch]$"),
]
IMPURE = re.compile(
    r"^lib/(sql|rpc|amqp|http)/|^lib/(log|clock|daemon|metrics|batcher|process)\.h$"
    r"|^(pthread|time|sys/time|unistd|threads|fcntl|sys/socket)\.h$"
)
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def includes_of(path):
    """(line number, quoted?, name) of each include."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        found = INCLUDE.match(line)
        if found:
            yield number, found.group(1) == '"', found.group(2)


def check_room(where, name):
    room = where.split("/")[0]
    if room in EVERYTHING:
        return None
    if "/" not in name:
        return 'name the room: "room/file.h"'
    target = name.split("/")[0]
    if target == room or (target in SHARED and room not in SHARED):
        return None
    if target not in ROOMS | EVERYTHING:
        return f"{target}/ is no room"
    return f"{room}/ may not include {target}/"


def check_door(where, name):
    if where.split("/")[0] in EVERYTHING:
        return None
    for header, doors in DOORS:
        if header.search(name) and not any(where == d or (d.endswith("/") and where.startswith(d)) for d in doors):
            return f"only {' and '.join(doors)} may include {name}"
    return None


def is_pure(where):
    return any(p.search(where) for p in PURE)


def check_pure(where, name):
    return f"a pure file may not include {name}" if is_pure(where) and IMPURE.search(name) else None


def check_reached(root, where, start, seen):
    """What a pure file reaches through its own room's headers."""
    for _, quoted, name in includes_of(root / start):
        if IMPURE.search(name):
            return f"a pure file reaches {name} through {start}"
        if quoted and name not in seen and name.split("/")[0] == where.split("/")[0] and (root / name).exists():
            seen.add(name)
            story = check_reached(root, where, name, seen)
            if story:
                return story
    return None


def check_own_header_first(root, where, quoted):
    own = where[:-2] + ".h"
    firsts = {own, own.split("/")[-1]} if where.split("/")[0] in EVERYTHING else {own}
    if where.endswith(".c") and (root / own).exists() and quoted and quoted[0][1] not in firsts:
        return f"{where}:{quoted[0][0]}: its own header {own} comes first"
    return None


def check_file(root, where):
    found, quoted = [], []
    for number, is_quoted, name in includes_of(root / where):
        stories = [check_door(where, name), check_pure(where, name)]
        if is_quoted:
            quoted.append((number, name))
            stories.append(check_room(where, name))
        found += [f"{where}:{number}: {s}" for s in stories if s]
    own = check_own_header_first(root, where, quoted)
    if own:
        found.append(own)
    if is_pure(where) and not found:
        story = check_reached(root, where, where, {where})
        if story:
            found.append(f"{where}: {story}")
    return found


def check_tree(root):
    found, files = [], 0
    for top in sorted(ROOMS | EVERYTHING):
        for path in sorted((root / top).rglob("*.[ch]")):
            files += 1
            found += check_file(root, path.relative_to(root).as_posix())
    return files, found


class Includes(unittest.TestCase):
    def test_every_file_keeps_to_its_roads(self):
        files, found = check_tree(ROOT)
        self.assertGreater(files, 20)
        self.assertEqual([], found, "\n" + "\n".join(found))


class TheCheckItself(unittest.TestCase):
    """Each rule finds what breaks it, and leaves alone what does not."""

    def check(self, where, *lines, others=None):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name, text in {**(others or {}), where: "\n".join(lines)}.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text + "\n")
            return [f for f in check_tree(root)[1] if f.startswith(where)]

    def refused(self, *args, **more):
        self.assertEqual(1, len(self.check(*args, **more)))

    def allowed(self, *args, **more):
        self.assertEqual([], self.check(*args, **more))

    def test_another_daemons_room_is_refused(self):
        self.refused("harpoon/a.c", '#include "scheduler/rank/score.h"')
        self.refused("lib/a.c", '#include "proto/job.pb-c.h"')
        self.refused("lib/a.c", '#include "harpoon/event.h"')
        self.allowed("harpoon/a.c", '#include "harpoon/b.h"', '#include "lib/error.h"', '#include "proto/job.pb-c.h"')
        self.allowed("tests/unit/a.c", '#include "scheduler/rank/score.h"', '#include "lib/error.h"')

    def test_an_include_without_its_room_is_refused(self):
        self.refused("harpoon/a.c", '#include "b.h"')
        self.refused("harpoon/a.c", '#include "else/b.h"')

    def test_a_foreign_library_has_one_door(self):
        self.refused("harpoon/a.c", "#include <mysql.h>")
        self.refused("harpoon/a.c", "#  include <mysql/mysql.h>")
        self.refused("lib/log.c", "#include <amqp_tcp_socket.h>")
        self.refused("lib/http/a.c", "#include <grpc/grpc.h>")
        self.refused("lib/config.c", "#include <microhttpd.h>")
        self.allowed("lib/sql/a.c", "#include <mysql.h>", "#include <errmsg.h>")
        self.allowed("lib/amqp/a.c", "#include <amqp.h>")
        self.allowed("lib/rpc/a.c", "#include <grpc/grpc_security.h>")
        self.allowed("lib/daemon.c", "#include <microhttpd.h>")
        self.allowed("lib/http/a.c", "#include <microhttpd.h>")

    def test_a_pure_file_has_no_effects(self):
        self.refused("harpoon/event.c", '#include "lib/log.h"')
        self.refused("scheduler/rank/score.c", "#include <pthread.h>")
        self.refused("eventrouter/route.c", '#include "lib/clock.h"')
        self.refused("harpoon/event.c", '#include "harpoon/b.h"', others={"harpoon/b.h": '#include "lib/sql/sql.h"'})
        self.allowed("harpoon/event.c", '#include "lib/error.h"', "#include <string.h>")
        self.allowed("harpoon/other.c", '#include "lib/log.h"')

    def test_a_file_includes_its_own_header_first(self):
        header = {"harpoon/a.h": "#pragma once"}
        self.refused("harpoon/a.c", '#include "lib/error.h"', '#include "harpoon/a.h"', others=header)
        self.allowed("harpoon/a.c", "#include <stdio.h>", '#include "harpoon/a.h"', others=header)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=1)
