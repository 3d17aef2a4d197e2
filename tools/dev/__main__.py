"""./dev: builds, runs and tests Harpoon on this machine."""
import argparse
import json
import os
import signal
import subprocess
import sys

from tools.dev import benches, demo, suites
from tools.dev.build import build
from tools.dev.cluster import Cluster
from tools.dev.layout import DEFAULTS, Layout

OVERVIEW = """\
Harpoon turns "create a Droplet" into a running virtual machine. This script runs all of it on this machine.

  ./dev demo                 from nothing to active Droplets, and what to try next
  ./dev up [options]         install, build, start everything on loopback under run/, wait until ready
  ./dev env                  shell assignments: eval "$(./dev env)"
  ./dev status               the processes, ready or not, and the database connections (--output json)
  ./dev logs NAME [-f]       the log of one process          ./dev ctl WORDS…   harpoonctl as the operator
  ./dev kill NAME [SIGNAL]   sends it a signal (KILL)        ./dev start NAME   starts it again
  ./dev down [--wipe]        stops everything (and removes run/)
  ./dev test [SUITE…]        all tests, or some: """ + " ".join(suites.SUITES) + """
  ./dev bench [NAME…]        figures as JSON lines: """ + " ".join(benches.BENCHES) + """

./dev COMMAND --help tells the options of a command.
"""


def _parser():
    parser = argparse.ArgumentParser(prog="./dev", add_help=False)
    commands = parser.add_subparsers(dest="command")
    for name in ("up", "demo"):
        p = commands.add_parser(name, help="start everything")
        p.add_argument("--regions", help="region slugs, comma separated (nyc3,ams3)")
        p.add_argument("--hypervisors", type=int, help="hypervisors a region (sim: 20, libvirt: 1)")
        p.add_argument("--driver", choices=["sim", "libvirt"], help="what makes the virtual machines (sim)")
        p.add_argument("--sim-shape", help="vCPU,MiB,GiB of a simulated hypervisor (512,2097152,100000)")
        p.add_argument("--latency-ms", type=int, help="how long a simulated hypervisor takes for a job (50)")
        p.add_argument("--replicas", type=int, help="of harpoon api, worker and scheduler (1; schedulers at least 2)")
        p.add_argument("--port-base", type=int, help="first of the 200 ports used (17000)")
        if name == "demo":
            p.add_argument("--droplets", type=int, default=5, help="how many to create (5)")
    p = commands.add_parser("env", help="shell assignments")
    p = commands.add_parser("status", help="processes and database connections")
    p.add_argument("--output", choices=["table", "json"], default="table")
    p = commands.add_parser("down", help="stop everything")
    p.add_argument("--wipe", action="store_true", help="remove run/ as well: the next `up` begins with an empty database")
    p = commands.add_parser("logs", help="the log of one process")
    p.add_argument("name")
    p.add_argument("-f", "--follow", action="store_true")
    p = commands.add_parser("kill", help="send a signal")
    p.add_argument("name")
    p.add_argument("signal", nargs="?", default="KILL")
    p = commands.add_parser("start", help="start one process again")
    p.add_argument("name")
    p = commands.add_parser("ctl", help="harpoonctl as the operator")
    p.add_argument("words", nargs=argparse.REMAINDER)
    p = commands.add_parser("test", help="run the tests")
    p.add_argument("suites", nargs="*", metavar="SUITE", help=" ".join(suites.SUITES))
    p = commands.add_parser("bench", help="measure")
    p.add_argument("name", nargs="?", help=" ".join(benches.BENCHES))
    p.add_argument("options", nargs=argparse.REMAINDER)
    return parser


def _options(args):
    given = {}
    for key in DEFAULTS:
        value = getattr(args, key, None)
        if value is not None:
            given[key] = value.split(",") if key == "regions" else value
    return given


def _up(args, say=print):
    given, before = _options(args), Layout().stored() or {}
    layout = Layout(options={**before, **given})
    cluster = Cluster(layout, say)
    changed = {k: v for k, v in given.items() if before.get(k, v) != v}
    if changed and any(row["pid"] for row in Cluster(Layout(options=before), say).status()["processes"]):
        raise RuntimeError(f"it is up with other options ({', '.join(changed)}): ./dev down first")
    build(layout, say)
    cluster.up(demo.images(layout, say))
    return cluster


def _environment(layout):
    cluster = Cluster(layout)
    admin = f"http://admin:{cluster.rabbitmq.admin[1]}@127.0.0.1:{cluster.rabbitmq.management_port}"
    return {"HARPOON_URL": layout.url, "HARPOON_TOKEN": layout.token, "HARPOON_CONSOLE": layout.url + "/",
            "HARPOON_MYSQL_SOCKET": cluster.mariadb.socket, "HARPOON_MYSQL_ROOT": str(cluster.mariadb.defaults_file),
            "HARPOON_AMQP_ADMIN": admin, "HARPOON_RUN": str(layout.run),
            "HARPOON_CTL_CONFIG": str(layout.run / "harpoonctl.conf")}


def _print_status(status):
    print(f"{'NAME':24} {'PID':>8}  {'STATE':10} READY")
    for row in status["processes"]:
        why = "  " + row["why"].replace("\n", "; ") if row["why"] and row["state"] == "running" else ""
        print(f"{row['name']:24} {row['pid'] or '-':>8}  {row['state']:10} {'yes' if row['ready'] else 'no'}{why}")
    connections = status["database_connections"]
    print(f"\ndatabase connections: {'-' if connections is None else connections}")


def _dispatch(args):
    command = args.command
    if command in ("up", "demo"):
        cluster = _up(args)
        return demo.run(cluster, args.droplets) if command == "demo" else demo.print_addresses(cluster.layout)
    if command == "test":
        return suites.run(args.suites)
    if command == "bench":
        return benches.run(args.name, args.options)
    layout = Layout()
    cluster = Cluster(layout)
    if command == "env":
        for name, value in _environment(layout).items():
            print(f"{name}='{value}'; export {name}")
    elif command == "status":
        status = cluster.status()
        print(json.dumps(status, indent=1)) if args.output == "json" else _print_status(status)
        return 0 if all(row["ready"] for row in status["processes"]) else 1
    elif command == "down":
        cluster.down()
        if args.wipe:
            subprocess.run(["rm", "-rf", "--", str(layout.run),
                            *(layout.short_folder(f"libvirt-{region}") for region in layout.regions)], check=True)
        print("nothing of it runs any more")
    elif command == "logs":
        path = cluster.log_path(args.name)
        os.execvp("tail", ["tail", "-n", "100", *(["-F"] if args.follow else []), str(path)])
    elif command == "kill":
        name = args.signal.upper().removeprefix("SIG")
        number = int(name) if name.isdigit() else getattr(signal, "SIG" + name, None)
        if number is None:
            raise RuntimeError(f"no signal is called {args.signal}")
        cluster.kill(args.name, number)
    elif command == "start":
        cluster.start(args.name)
    elif command == "ctl":
        env = {**os.environ, "HARPOON_CTL_CONFIG": str(layout.run / "harpoonctl.conf")}
        ctl = str(layout.binary("harpoonctl"))
        os.execve(ctl, [ctl, *args.words], env)
    return 0


def main():
    sys.stdout.reconfigure(line_buffering=True)
    try:
        if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help", "help"):
            print(OVERVIEW)
            return 0
        return _dispatch(_parser().parse_args()) or 0
    except (RuntimeError, TimeoutError, subprocess.CalledProcessError) as error:
        print(f"./dev: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("\nstopped waiting; what was started goes on: ./dev status, ./dev down", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
