"""./dev bench: programs that print their figures as JSON lines, on the plain build."""
import os

from tools.dev.build import build
from tools.dev.layout import ROOT, Layout

BENCHES = {  # name: (meson target, what it measures)
    "rank": ("bench/bench-rank", "decisions, metrics and refusals of the scheduler's engine alone [--hypervisors N]"),
    "packing": ("bench/bench-packing", "how densely it packs a trace: --trace FILE.csv.gz --hosts N --vcpu V --memory-mib M"),
}


def run(name, options, say=print):
    """Builds the bench and becomes it; without a name tells which there are."""
    if name is None:
        for bench, (_, what) in BENCHES.items():
            say(f"  ./dev bench {bench:10} {what}")
        return 0
    if name not in BENCHES:
        raise RuntimeError(f"no bench is called {name}; there are: {', '.join(BENCHES)}")
    layout = Layout(build=ROOT / "build")
    target = BENCHES[name][0]
    build(layout, say=lambda line: None, targets=[target])
    program = str(layout.build / target)
    os.execv(program, [program, *options])
