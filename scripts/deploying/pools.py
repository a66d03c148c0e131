"""The pools beside the default one: what the core is told of them, and how many it can be told of."""

import json

from .account import Account
from .stack import of_prefix
from .trouble import Trouble

# A Lambda's environment takes 4,096 bytes, and everything else in it up to 1,400: with the longest prefix, and a
# collector with its headers.
MAX_BYTES = 2_600


def entries(account: Account, prefix: str) -> dict[str, str]:
    """The entry of each pool that there is, by its name."""
    found, start = {}, f"{prefix}-pool-"
    for name, deployed in of_prefix(account, prefix).items():
        # One that is being deleted has queues no more, or soon.
        if name.startswith(start) and deployed.stands and "Pool" in deployed.outputs:
            found[name.removeprefix(start)] = deployed.outputs["Pool"]
    return found


def entry(core: dict[str, str], prefix: str, name: str, targets: str) -> str | None:
    """What the pool's stack will put out: its queues are named as those of the default pool are. None when they are
    not."""
    queues = json.loads(core.get("DefaultPool", "{}")).get("queues", {})
    ours, theirs = f"/{prefix}-default-", f"/{prefix}_{name}-"
    if not queues or not all(ours in url for url in queues.values()):
        return None
    queues = {lane: url.replace(ours, theirs) for lane, url in queues.items()}
    return json.dumps({"name": name, "targets": targets.split(" "), "queues": queues}, separators=(",", ":"), ensure_ascii=False)


def joined(pools: dict[str, str], prefix: str) -> str:
    """The entries as the core's parameter; fails when it is too much."""
    text = ",".join(pool for _, pool in sorted(pools.items()))
    size = len(text.encode())
    if size > MAX_BYTES:
        raise Trouble(
            f"the pools {', '.join(sorted(pools))} need {size} bytes; {MAX_BYTES} fit, since a function's environment holds "
            "4 KB\n"
            "  give the new one a shorter name or fewer --targets, or make a second deployment with another --prefix;\n"
            "  or remove one, and then run scripts/deploy again:\n"
            f"  scripts/destroy --prefix {prefix} --pool NAME"
        )
    return text
