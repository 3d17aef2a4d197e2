"""Checks the simulated truth: knows only the ledger's lines, `<unix-ms> <hypervisor> <droplet-id> <attempt> <operation>`."""
from collections import Counter
from pathlib import Path


class Ledger:
    def __init__(self, path):
        self.path = Path(path)

    def lines(self):
        try:
            text = self.path.read_text()
        except FileNotFoundError:
            return []
        return [(int(at), int(hv), int(droplet), int(attempt), operation)
                for at, hv, droplet, attempt, operation in (line.split() for line in text.splitlines())]

    def check(self, live=()):
        """Every broken promise as a sentence: at no line two domains of one droplet; at the end one for each in `live`, else none."""
        wrong, count = [], Counter()
        for number, (_, hypervisor, droplet, attempt, operation) in enumerate(self.lines(), 1):
            count[droplet] += {"create": 1, "destroy": -1}[operation]
            if count[droplet] not in (0, 1):
                wrong.append(f"line {number}: droplet {droplet} has {count[droplet]} domains after {operation} "
                             f"of attempt {attempt} on hypervisor {hypervisor}")
        live = set(live)
        for droplet in live:
            if count[droplet] != 1:
                wrong.append(f"droplet {droplet} is live and has {count[droplet]} domains")
        for droplet, left in count.items():
            if left and droplet not in live:
                wrong.append(f"droplet {droplet} is gone and has {left} domains")
        return wrong

    def operations(self, droplet):
        """What happened to one droplet, in order."""
        return [operation for _, _, d, _, operation in self.lines() if d == droplet]
