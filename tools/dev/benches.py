"""./dev bench: measurements that print their figures as JSON lines, on the plain build."""
import os

from tools.dev import bench_creates
from tools.dev.build import build
from tools.dev.layout import ROOT, Layout

BENCHES = {  # name: (meson target, or function of the options; what it measures)
    "rank": ("bench/bench-rank", "decisions, metrics and refusals of the scheduler's engine alone [--hypervisors N]"),
    "packing": ("bench/bench-packing", "how densely it packs a trace: --trace FILE.csv.gz --hosts N --vcpu V --memory-mib M"),
    "creates": (bench_creates.creates, "creates a second through the public API, and their cost beside the raw floor"),
    "latency": (bench_creates.latency, "one create at a time on an idle system, beside the commits it cannot avoid"),
}


def run(name, options, say=print):
    """Builds the bench and becomes it, or calls it; without a name tells which there are."""
    if name is None:
        for bench, (_, what) in BENCHES.items():
            say(f"  ./dev bench {bench:10} {what}")
        return 0
    if name not in BENCHES:
        raise RuntimeError(f"no bench is called {name}; there are: {', '.join(BENCHES)}")
    target = BENCHES[name][0]
    if callable(target):
        return target(options)
    layout = Layout(build=ROOT / "build")
    build(layout, say=lambda line: None, targets=[target])
    program = str(layout.build / target)
    os.execv(program, [program, *options])
