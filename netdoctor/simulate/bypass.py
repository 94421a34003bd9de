"""Why an answer arrives un-translated: which namespace translated the request and never saw the answer.

Knows nothing of how the answer travelled but its steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdoctor.netfilter.packet import TCP, format_address
from netdoctor.simulate.bridge import netfilter_sysctl

if TYPE_CHECKING:
    from netdoctor.netfilter.packet import Connection
    from netdoctor.simulate.flows import Resolved
    from netdoctor.simulate.run import Fate, Run
    from netdoctor.simulate.trace import Cause
    from netdoctor.topology.namespace import Netns


def explain(run: Run, resolved: Resolved, end: Fate, first_step: int, wrong: str) -> Cause:
    """Return the cause of an answer that the sender does not take. `first_step`: where the answer's steps begin."""
    packet = end.packet
    refusal = f"{resolved.netns.name} {wrong}" if wrong else "the sender does not take it"
    reaction = "answers RST" if packet.proto == TCP else "drops it"
    bridged = next((index for index in range(first_step, len(run.steps)) if _unasked(run, index)), None)
    run.step("deliver", end.netns, packet, action="refuse", note=f"{wrong}; {reaction}" if wrong else reaction)
    reason = "NO_SOCKET"
    translated = _unanswered(run)
    if translated is None:
        if packet.proto != TCP and packet.src != resolved.sent.dst:
            detail = (
                f"{refusal}: it was sent from {format_address(packet.family, packet.src)}, the address of its route"
            )
            return run.cause("socket", end.netns, interface=end.interface, detail=detail, drop_reason=reason)
        return run.cause("conntrack", end.netns, interface=end.interface, detail=refusal, drop_reason=reason)
    netns, connection = translated
    what = "destination" if connection.dnat else "source"
    if bridged is not None and run.steps[bridged].netns == netns.name:
        step = run.steps[bridged]
        sysctl = netfilter_sysctl(packet.family)
        detail = (
            f"bridge {step.out or step.in_}: the answer goes from port to port, past iptables, because {sysctl} = "
            f"{netns.sysctl(sysctl, '0 (br_netfilter is not loaded)')}; the {what} that {netns.name} translated is not "
            f"translated back, and {refusal}"
        )
        return run.cause(
            "nat-bypassed",
            netns,
            interface=step.in_ or step.out,
            sysctl=sysctl,
            detail=detail,
            drop_reason=reason,
            step=bridged,
        )
    detail = (
        f"the answer does not come back through {netns.name}, which translated the {what} of the request: {refusal}"
    )
    return run.cause("nat-bypassed", netns, detail=detail, drop_reason=reason, interface=None)


def _unasked(run: Run, index: int) -> bool:
    step = run.steps[index]
    return step.stage == "bridge" and step.action == "forward" and (step.note or "").endswith("iptables not asked")


def _unanswered(run: Run) -> tuple[Netns, Connection] | None:
    """A translated connection of the request that the answer did not pass."""
    for name, table in run.conntracks.items():
        seen = run.passed.get(name, set())
        for connection in table.connections():
            if (connection.dnat or connection.snat) and id(connection) not in seen:
                return table.netns, connection
    return None
