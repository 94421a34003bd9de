"""`./dev kernel-diff SECONDS`: asks the simulator and the kernel about one random network after another."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from tests.kernel.fuzz import compare, faults, generate, reduce
from tests.kernel.fuzz.hits import Hits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kernel.fuzz.compare import Kernel
    from tests.kernel.fuzz.network import Network


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev kernel-diff", description=__doc__)
    parser.add_argument("seconds", type=float, help="for how long")
    parser.add_argument("--seed", type=int, default=1, help="of the first network; the next ones count on from it")
    parser.add_argument("--flows", type=int, help="end after so many flows, before the time is over")
    parser.add_argument("--call", type=int, help="only this flow of the first network, by its source port, in full")
    parser.add_argument("--reduce", action="store_true", help="with --call: cut the network down to what it needs")
    parser.add_argument("--faults", action="store_true", help="plant faults in the simulator and see each one found")
    return parser.parse_args()


def main() -> int:
    """Run until the time is over; 1 where they differ anywhere, or where a planted fault is not found."""
    arguments = _arguments()
    kernel = compare.Kernel()
    try:
        if arguments.call is not None:
            return _one(kernel, arguments)
        return _faults(kernel, arguments) if arguments.faults else _many(kernel, arguments)
    except KeyboardInterrupt:
        return 130
    finally:
        kernel.close()


def _networks(arguments: argparse.Namespace) -> Iterator[Network]:
    end = time.monotonic() + arguments.seconds
    seed, flows = arguments.seed, 0
    while time.monotonic() < end and (arguments.flows is None or flows < arguments.flows):
        network = generate.network(seed)
        yield network
        flows += len(network.calls)
        seed += 1


def _many(kernel: Kernel, arguments: argparse.Namespace) -> int:
    hits, unknown, labels = Hits(), Counter[str](), Counter[str]()
    flows = failed = differ = undecided = order = refused = 0
    seed = arguments.seed
    try:
        for network in _networks(arguments):
            seed = network.seed
            examined = compare.examine(kernel, network)
            refused += len(examined.refused)
            labels.update(network.labels)
            for one in examined.refused:
                print(f"seed {seed}: refused: {one.splitlines()[0]}")
            with hits.listening():
                for call, trace, observed, said in compare.differences(examined):
                    flows += 1
                    failed += not observed.connects
                    hits.add(trace)
                    if compare.is_unknown(trace):
                        why = compare.undecided(trace)
                        order += any(one.startswith("hook order") for one in why)
                        undecided += not any(one.startswith("hook order") for one in why)
                        unknown.update(why[:1])
                    elif said:
                        differ += 1
                        print(f"seed {seed}: {call}: " + "; ".join(said))
            if sys.stderr.isatty():
                print(f"\r{flows} flows, {differ} differ ", end="", file=sys.stderr)
    finally:
        print(hits.table())
        print("networks: " + ", ".join(f"{name} {count}" for name, count in labels.most_common()))
        print("unknown: " + "; ".join(f"{count} {why}" for why, count in unknown.most_common(40)))
        print(
            f"{flows} flows of the networks {arguments.seed} to {seed}: {differ} differ, {failed} fail, "
            f"{undecided} unknown, {order} hang on the order of equal hooks, {refused} steps were refused by the tools"
        )
    return 1 if differ else 0


def _one(kernel: Kernel, arguments: argparse.Namespace) -> int:
    network = generate.network(arguments.seed)
    network = replace(network, calls=tuple(one for one in network.calls if one.sport == arguments.call))
    if arguments.reduce:
        network = reduce.reduce(kernel, network, network.calls[0])
    print(network.script(network.calls[0]))
    examined = compare.examine(kernel, network)
    for call, trace, observed, said in compare.differences(examined):
        print(f"seed {network.seed}: {call}: " + "; ".join(said))
        print(*compare.told(trace), observed, sep="\n")
        return 1 if said else 0
    return 2


def _faults(kernel: Kernel, arguments: argparse.Namespace) -> int:
    """Record what the kernel does once, and hold every faulty simulator against it."""
    corpus = [compare.examine(kernel, network) for network in _networks(arguments)]
    flows = sum(len(examined.observed) for examined in corpus)
    known = {which for _, which in faults.differing(corpus)}
    lost = 0
    for fault in faults.FAULTS:
        after = faults.find(fault, corpus, known)
        lost += after is None
        print(
            f"{fault.name}: " + (f"found after {after} flows" if after else f"NOT FOUND in {flows} flows"), flush=True
        )
    print(f"{len(faults.FAULTS) - lost} of {len(faults.FAULTS)} faults found within {flows} flows")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
