#!/usr/bin/env python3
"""Verifies event.pml: the protocol must hold, and each deliberate mistake in it must be caught.

    run.py [--full] [--jobs N] [--only WORD]

Prints a line for each run as it ends; the exit status is 0 when every one ended as expected. --full adds
the larger scopes (ten minutes and 4 GB instead of one minute and 600 MB). --only takes the runs whose
name or options contain WORD.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

MODEL = Path(__file__).resolve().parent / "event.pml"

HOLDS = [  # what is added to the plain story, options
    ("two workers, deletes, deadlines", ""),
    ("every job fails in the end", "JOBS_FAIL"),
    ("agents forget that they began", "FORGETFUL"),
    ("room comes and goes", "OTHERS NO_DELETE"),
    ("a fence", "FENCES ONE_WORKER"),
    ("a fence that ends", "FENCES UNFENCES ONE_WORKER NO_DELETE"),
    ("a lost journal", "JOURNAL_LOSS ONE_WORKER NO_DELETE"),
]

HOLDS_FULL = [
    ("a fence, two workers", "FENCES"),
    ("a fence, room comes and goes", "FENCES OTHERS FORGETFUL"),
    ("a fence that ends, deletes", "FENCES UNFENCES FORGETFUL"),
    ("a lost journal, deletes", "JOURNAL_LOSS FORGETFUL"),
    ("a lost journal and a fence", "JOURNAL_LOSS FENCES ONE_WORKER NO_DELETE"),
    ("three attempts", "ATTEMPTS=3"),
    ("three attempts, every job fails", "ATTEMPTS=3 JOBS_FAIL NO_DELETE"),
]

CAUGHT = [  # the mistake, options
    ("Start is sent before the row is stored", "BUG_START_BEFORE_STORE"),
    ("the next attempt does not wait for closed", "BUG_NEXT_UNCLOSED"),
    ("a refusal in no journal counts as closed", "BUG_LOOSE_REFUSAL_CLOSES ONE_WORKER NO_DELETE"),
    ("another journal's closed counts", "BUG_ANY_JOURNAL_CLOSES JOURNAL_LOSS ONE_WORKER NO_DELETE"),
    ("the row is moved whatever its attempt", "BUG_MOVE_IGNORES_ATTEMPT"),
    ("a move that misses releases the claim", "BUG_MISS_RELEASES"),
    ("a claim is the droplet's, not the attempt's", "BUG_CLAIM_PER_DROPLET"),
    ("Place obeys a stale attempt", "BUG_PLACE_OBEYS_STALE"),
    ("nobody looks for unwanted claims", "BUG_NO_RECONCILER"),
    ("the reconciler releases what it did not ask about", "BUG_RECONCILER_RELEASES_ANY"),
    ("wanted forgets an unfinished destroy", "BUG_WANTED_FORGETS_DESTROY"),
    ("the claim goes before the VM is absent", "BUG_RELEASE_BEFORE_ABSENT"),
    ("a deadline leaves no cleanup", "BUG_DEADLINE_WITHOUT_CLEANUP"),
    ("DELETE cancels what is dispatched", "BUG_DELETE_CANCELS_DISPATCHED"),
    ("success forgets that DELETE came", "BUG_SUCCESS_FORGETS_DELETE"),
    ("Drop undoes a job that has begun", "BUG_DROP_STARTED"),
    ("unknown makes the agent destroy", "BUG_UNKNOWN_DESTROYS"),
    ("a second report of success is discarded", "BUG_DISCARD_AFTER_SUCCESS"),
    ("Start only while dispatched, begin not kept", "BUG_START_ONLY_WHILE_DISPATCHED FORGETFUL"),
    ("a destroy leaves the other jobs", "BUG_DESTROY_LEAVES_JOBS"),
    ("a destroy leaves an accepted job", "BUG_DESTROY_LEAVES_HELD"),
    ("a destroy cannot follow to a new journal",
     "BUG_DESTROY_BOUND_TO_JOURNAL JOURNAL_LOSS ONE_WORKER NO_DELETE"),
    ("back from a fence with the old journal", "BUG_UNFENCE_KEEPS_JOURNAL FENCES UNFENCES ONE_WORKER NO_DELETE"),
]

REACHED = [  # what must be possible, or the model proves nothing
    ("the second attempt succeeds elsewhere", "PROBE=1"),
    ("the customer's destroy ends", "PROBE=2"),
    ("a worker lets go after the cleanup", "PROBE=3"),
    ("a worker is late for a success", "PROBE=4"),
]

PROMISES = [  # part of the violated assertion, what it says
    ("(vm[1]!=0)&&(vm[2]!=0)", "one VM"),
    ("claim_host==1)&&(claim_att==vm[1]", "each VM has its claim"),
    ("(vm[1]!=0)&&other[1]", "no over-commit"),
    ("||(vm[host]==attempt)", "succeeded means alive"),
    ("(vm[1]==0)&&(vm[2]==0))&&(claim_att==0)", "nothing is left behind"),
    ("CAN_PLACE", "only time helps"),
    ("!(((ev==", "a goal"),
    ("deleted", "what is deleted ends"),
    ("!((((fo==", "a destroy ends"),
    ("<attempt)", "somebody acts before the deadline"),
    ("violated 0", "it comes to rest"),
]


class Run:
    def __init__(self, expect, what, options):
        self.expect, self.what, self.options = expect, what, options.split()
        self.states = self.memory_mb = 0
        self.seconds = 0.0
        self.result = ""

    def is_surprise(self):
        return self.result != {"holds": "holds"}.get(self.expect, "caught")

    def violated(self, text):
        found = re.search(r"assertion violated.*", text)
        if not found:
            return ""
        return next((name for part, name in PROMISES if part in found[0]), found[0][:60])

    def verify(self, limit_s, memory_mb):
        began = time.monotonic()
        folder = Path(tempfile.mkdtemp(prefix="harpoon-model-"))
        try:
            self.judge(self.search(folder, limit_s, memory_mb))
        except (subprocess.SubprocessError, OSError) as error:
            self.result = f"not run: {error}"
        finally:
            self.seconds = time.monotonic() - began
            shutil.rmtree(folder, ignore_errors=True)
        return self

    def search(self, folder, limit_s, memory_mb):
        # An error is found in a moment: for those the compiler is what takes time.
        holds = self.expect == "holds"
        subprocess.run(["spin", "-a", *(f"-D{option}" for option in self.options), str(MODEL)], cwd=folder,
                       check=True, capture_output=True, text=True)
        subprocess.run(["gcc", "-O2" if holds else "-O0", "-w", "-DSAFETY", "-DNOREDUCE", f"-DMEMLIM={memory_mb}",
                        "-o", "pan", "pan.c"], cwd=folder, check=True, capture_output=True, text=True)
        command = ["./pan", "-m2000000", "-w24" if holds else "-w20"]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=limit_s).stdout

    def judge(self, text):
        states = re.search(r"(\d+) states, stored", text)
        memory = re.search(r"([\d.]+)\s+total actual memory usage", text)
        self.states = int(states[1]) if states else 0
        self.memory_mb = float(memory[1]) if memory else 0
        if re.search(r"errors: [1-9]", text):
            self.promise = self.violated(text)
            self.result = "caught" if self.promise else "ends in a wrong way"
        elif re.search(r"errors: 0", text) and "not completed" not in text and "depth too small" not in text:
            self.result = "holds"
        else:
            self.result = "the search was not completed"

    def line(self):
        shown = self.result
        if self.result == "caught":
            shown = f"broken: {self.promise}" if self.expect != "reached" else "reached"
        mark = "SURPRISE" if self.is_surprise() else "ok"
        return (f"{mark:9}{self.expect:8}{self.what:50} {shown:42} {self.states:>9} {self.seconds:6.1f} s"
                f"{self.memory_mb:7.0f} MB  {' '.join(self.options)}")


def chosen_runs(full, only):
    runs = [Run("holds", *row) for row in HOLDS + (HOLDS_FULL if full else [])]
    runs += [Run("caught", *row) for row in CAUGHT]
    runs += [Run("reached", *row) for row in REACHED]
    return [run for run in runs if not only or only in run.what or only in " ".join(run.options)]


def unknown_mistakes():
    """Mistakes that the model can make and nobody asks it to."""
    known = {option for _, options in CAUGHT for option in options.split()}
    return set(re.findall(r"\bBUG_[A-Z_]+", MODEL.read_text())) ^ {o for o in known if o.startswith("BUG_")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="the larger scopes too")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at a time")
    parser.add_argument("--only", metavar="WORD", help="the runs whose name or options contain WORD")
    options = parser.parse_args()
    runs = chosen_runs(options.full, options.only)
    limit_s, memory_mb = (3600, 6000) if options.full else (600, 2000)
    began = time.monotonic()
    with ThreadPoolExecutor(options.jobs) as pool:
        for run in pool.map(lambda r: r.verify(limit_s, memory_mb), runs):
            print(run.line(), flush=True)
    surprises = sum(run.is_surprise() for run in runs)
    for name in sorted(unknown_mistakes()):
        print(f"SURPRISE {name} is not in both event.pml and run.py")
        surprises += 1
    print(f"{len(runs)} runs, {surprises} surprises, {time.monotonic() - began:.0f} s")
    return 1 if surprises or not runs else 0


if __name__ == "__main__":
    sys.exit(main())
