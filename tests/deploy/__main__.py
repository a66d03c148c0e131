"""Tests of scripts/deploy and scripts/destroy against ministack. Run by scripts/test:

    python tests/deploy ENDPOINT [NAME...]

Each test has a prefix of its own, so they run side by side. The last line is as cargo's, for scripts/test to count.
"""

import concurrent.futures
import inspect
import sys
import time
import traceback
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2] / "scripts")]

import test_arch  # noqa: E402
import test_boot  # noqa: E402
import test_calls  # noqa: E402
import test_changes  # noqa: E402
import test_drained  # noqa: E402
import test_env  # noqa: E402
import test_flow  # noqa: E402
import test_left  # noqa: E402
import test_pools  # noqa: E402
import test_refusals  # noqa: E402
import test_tags  # noqa: E402
import test_words  # noqa: E402
import test_workers  # noqa: E402
from bench import Bench, Skipped  # noqa: E402

MODULES = (
    test_arch, test_boot, test_calls, test_changes, test_drained, test_env, test_flow, test_left, test_pools, test_refusals,
    test_tags, test_words, test_workers,
)
# Most of a test is waiting.
AT_ONCE = 6


def run(name, test, endpoint):
    begun = time.monotonic()
    bench = Bench(endpoint, name)
    try:
        test(bench)
        result, words = "ok", ""
    except Skipped as why:
        result, words = "skipped", f"\n!! SKIPPED: {name}: {why}"
    except Exception:  # whatever a test throws is its failure
        result, words = "FAILED", "\n" + traceback.format_exc()
    finally:
        bench.close()
    print(f"test {name} ... {result} ({time.monotonic() - begun:.1f} s){words}", flush=True)
    return result


def main() -> int:
    endpoint, wanted = sys.argv[1], sys.argv[2:]
    tests = [
        (name, test)
        for module in MODULES
        for name, test in inspect.getmembers(module, inspect.isfunction)
        if name.startswith("test_") and (not wanted or any(want in name for want in wanted))
    ]
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        results = list(pool.map(lambda pair: run(*pair, endpoint), tests))
    bad = results.count("FAILED")
    # As with cargo, one that skipped itself has passed; its line above says otherwise.
    word = "FAILED" if bad else "ok"
    print(f"test result: {word}. {len(results) - bad} passed; {bad} failed; 0 ignored; 0 measured; 0 filtered out")
    return 1 if bad or not results else 0


sys.exit(main())
