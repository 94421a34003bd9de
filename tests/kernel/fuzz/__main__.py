"""`python -m tests.kernel.fuzz SECONDS [--seed N] [--flows N]`: asks both about network after network."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from dataclasses import replace

from tests.kernel.fuzz import compare, generate, reduce


def main() -> int:
    parser = argparse.ArgumentParser(prog="kernel-diff")
    parser.add_argument("seconds", type=float)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--once", action="store_true", help="only this seed")
    parser.add_argument(
        "--call", type=int, help="with --once: only this flow, by its source port; its script is printed"
    )
    parser.add_argument("--reduce", action="store_true", help="cut the network of a difference down to what it needs")
    arguments = parser.parse_args()
    kernel = compare.Kernel()
    end = time.monotonic() + arguments.seconds
    seed = arguments.seed
    verdicts: Counter[str] = Counter()
    flows = failed = differ = unknown = 0
    try:
        while time.monotonic() < end:
            network = generate.network(seed)
            if arguments.call is not None:
                network = replace(network, calls=tuple(one for one in network.calls if one.sport == arguments.call))
                if arguments.reduce:
                    network = reduce.reduce(kernel, network, network.calls[0])
                print(network.script(network.calls[0]))
            examined = compare.examine(kernel, network)
            for one in examined.refused:
                print(f"seed {seed}: refused: {one}")
            for call, trace, observed, said in compare.differences(kernel, examined):
                flows += 1
                failed += not observed.connects
                for outcome in trace.outcomes:
                    verdicts[outcome.verdict] += 1
                if compare.is_unknown(trace):
                    unknown += 1
                    for outcome in trace.outcomes:
                        for why in outcome.undecided or ((outcome.cause.detail,) if outcome.cause else ()):
                            print(f"seed {seed}: {call}: unknown: {why}")
                    continue
                if said:
                    differ += 1
                    print(f"seed {seed}: {call}: " + "; ".join(said))
                if arguments.call is not None:
                    print(*compare.told(trace), observed, sep="\n")
            if arguments.once:
                break
            seed += 1
    finally:
        kernel.close()
        print(f"{flows} flows, {failed} failed, {differ} differ, {unknown} unknown; next seed {seed}")
        print(verdicts)
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
