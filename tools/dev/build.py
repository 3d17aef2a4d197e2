"""Building the tree with meson and ninja."""
import os
import shutil
import subprocess

from tools.dev.layout import ROOT


def build(layout, say=print, setup=(), targets=()):
    """Configures (once) and builds; on failure shows the compiler's last words."""
    env = dict(os.environ)
    if shutil.which("ccache") and "CC" not in env:
        env["CC"] = "ccache gcc"
    if not (layout.build / "build.ninja").exists():
        say(f"configuring {layout.build.name}/")
        _run(["meson", "setup", *setup, str(layout.build)], env)
    say("building")
    _run(["ninja", "-C", str(layout.build), *targets], env)


def _run(command, env):
    ran = subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if ran.returncode:
        raise RuntimeError(" ".join(command) + " failed:\n" + "\n".join(ran.stdout.splitlines()[-30:]))
