"""A bad network to try a build on: an HTTP proxy that spoils some of the answers that pass through it.

    python -m scripts.fault_proxy --rate 0.1 --seed 7 --port 8900
    http_proxy=http://127.0.0.1:8900 gl10m build --source stac --stac-url http://127.0.0.1:8080 ...

`curl http://127.0.0.1:8900/faults` tells how many requests came and what was done to them. What goes through
TLS (`https_proxy`) can only be held up or cut, since nobody can change its bytes unseen. docs/faults.md tells
what each fault is and what a build makes of it.
"""

from scripts.fault_proxy.faults import KINDS, PAGE
from scripts.fault_proxy.proxy import FaultProxy

__all__ = ["KINDS", "PAGE", "FaultProxy"]
