"""./dev test: every suite, with its time budget. A suite is a function that raises when something is wrong."""
import os
import subprocess
import sys
import time

from tools.dev.build import build
from tools.dev.layout import ROOT, Layout

# Everything with real processes runs on the build that looks for memory errors and undefined behaviour.
SANITIZED = ("build-asan", ["-Db_sanitize=address,undefined"])
SANITIZER_OPTIONS = {"ASAN_OPTIONS": "detect_leaks=1:abort_on_error=1", "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"}


def _meson_test(folder, setup, suites, wrapper=(), env=None, targets=()):
    layout = Layout(build=ROOT / folder)
    build(layout, setup=setup, targets=targets)
    command = [*wrapper, "meson", "test", "-C", str(layout.build), "--no-rebuild", "--print-errorlogs", "--num-processes", "2"]
    for suite in suites:
        command += ["--suite", suite]
    subprocess.run(command, cwd=ROOT, check=True, env={**os.environ, **(env or {})})


def unit():
    """Every module by itself, under AddressSanitizer and UndefinedBehaviorSanitizer."""
    _meson_test(*SANITIZED, ["unit"], env=SANITIZER_OPTIONS)


def threads():
    """The modules with threads of their own, under ThreadSanitizer."""
    _meson_test("build-tsan", ["-Db_sanitize=thread"], ["unit"], wrapper=["setarch", "-R"],
                env={"TSAN_OPTIONS": "halt_on_error=1:ignore_noninstrumented_modules=1"})


def servers():
    """lib/sql, lib/amqp and the stores against a real MariaDB and RabbitMQ."""
    _meson_test(*SANITIZED, ["servers"], env=SANITIZER_OPTIONS)


def model():
    """The protocol, checked state by state; each deliberate mistake is caught."""
    subprocess.run(["/usr/bin/python3", "-m", "tests.model.run"], cwd=ROOT, check=True)


def simulation():
    """Thousands of seeds of the pure core under loss, duplication, crashes and partitions."""
    _meson_test("build", [], ["simulation"], targets=["tests/simulation/simulation"])


def style():
    """clang-format agrees with every file."""
    files = subprocess.run(["git", "ls-files", "*.c", "*.h"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    subprocess.run(["clang-format", "--dry-run", "--Werror", *files], cwd=ROOT, check=True)


def e2e():
    """Stories with every real process: MariaDB, RabbitMQ, all daemons, real API clients."""
    _stories("tests/e2e", SANITIZER_OPTIONS)


def vm():
    """A Droplet that boots under QEMU and says on its console who it is."""
    options = {**SANITIZER_OPTIONS, "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1"}  # libvirt loses bytes of its own
    _meson_test(*SANITIZED, ["vm"], env=options)
    _stories("tests/real_vm", options)


def _stories(folder, options):
    layout = Layout(build=ROOT / SANITIZED[0])
    build(layout, setup=SANITIZED[1])
    env = {**os.environ, **options, "HARPOON_BUILD_FOLDER": str(layout.build)}
    for story in sorted((ROOT / folder).glob("test_*.py")):
        print(f"--- {story.relative_to(ROOT)}", flush=True)
        module = ".".join(story.relative_to(ROOT).with_suffix("").parts)
        subprocess.run(["/usr/bin/python3", "-W", "ignore::ResourceWarning", "-m", "unittest", "-v", module], cwd=ROOT, check=True,
                       env=env)


SUITES = {  # name: (function, seconds it may take)
    "style": (style, 20),
    "unit": (unit, 240),
    "threads": (threads, 240),
    "model": (model, 120),
    "simulation": (simulation, 120),
    "servers": (servers, 240),
    "e2e": (e2e, 480),
    "vm": (vm, 180),
}


def run(names):
    unknown = [name for name in names if name not in SUITES]
    if unknown:
        raise RuntimeError(f"no suite is called {unknown[0]}; there are: {', '.join(SUITES)}")
    failed, rows = [], []
    for name in names or SUITES:
        function, budget = SUITES[name]
        print(f"\n=== {name}: {function.__doc__}", flush=True)
        begun = time.monotonic()
        try:
            function()
            outcome = "passed"
        except (subprocess.CalledProcessError, RuntimeError, OSError) as error:  # a TimeoutError is an OSError
            print(f"{name}: {error}", file=sys.stderr)
            outcome = "FAILED"
            failed.append(name)
        rows.append((name, outcome, time.monotonic() - begun, budget))
    print(f"\n{'SUITE':12} {'RESULT':8} {'SECONDS':>8} {'BUDGET':>7}")
    for name, outcome, took, budget in rows:
        print(f"{name:12} {outcome:8} {took:8.0f} {budget:7}{'  over budget' if took > budget else ''}")
    print(f"\n{len(rows) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0
