"""Rules, chains and policies in the namespace that this process is in, by atomic commits: all of an edit or nothing.

Knows nothing of plans. nft: iptables-nft-restore --noflush (one netlink transaction). legacy: libiptc where
python-iptables
is installed, else iptables-legacy-restore --noflush -w; both hold /run/xtables.lock. Source: iptables-restore(8).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

from netdoctor.change import ruletext
from netdoctor.change.rules import AddRule, DeleteChain, DeleteRule, NewChain, RulesetOperation, SetPolicy
from netdoctor.collect.reader import PATH
from netdoctor.model.errors import NetdoctorError
from netdoctor.model.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

SECONDS = 60.0
LOCK_SECONDS = "20"  # how long a tool waits for xtables.lock


class Doing:
    """One change of a ruleset."""

    def __init__(self, operation: RulesetOperation, lock: int) -> None:
        self.operation = operation
        self.lock = lock

    def look(self) -> dict[str, Any]:
        """Note which nft chains there are (those that the change makes are removed again), the policy, the rule's
        place.
        """
        operation = self.operation
        facts: dict[str, Any] = {"chains": self._nft_chains()}
        found = ruletext.chain(self._save(), operation.table, operation.chain) if self._is_registered() else None
        if isinstance(operation, SetPolicy):
            facts["policy"] = "ACCEPT" if found is None else found.policy
        if isinstance(operation, DeleteRule):
            texts = [] if found is None else list(found.rules)
            at = next((at for at, there in enumerate(texts) if ruletext.same(there, operation.text)), None)
            if at is None:
                raise NetdoctorError(f"no such rule in {operation.where}: {printable(operation.text)}", "check again")
            facts["position"], facts["text"], facts["rules"] = at + 1, texts[at], len(texts)
        return facts

    def do(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Commit it, and see that the tool finds it there."""
        operation = self.operation
        self._commit(_line(operation))
        if isinstance(operation, AddRule) and not self._holds(operation.text):
            self._restore(f"-D {operation.chain} {operation.text}")
            raise NetdoctorError(f"the rule is not in {operation.where} after it was added", "nothing was changed")
        return facts

    def undo(self, facts: dict[str, Any]) -> tuple[str, ...]:
        """Take back exactly what was done, as far as it is still there; then the chains and tables that came with
        it.
        """
        operation = self.operation
        notes: tuple[str, ...] = ()
        if isinstance(operation, AddRule):
            notes = self._undo_add(operation)
        elif isinstance(operation, DeleteRule):
            self._undo_delete(operation, facts)
        elif isinstance(operation, SetPolicy):
            notes = self._undo_policy(operation, facts)
        elif isinstance(operation, NewChain):
            notes = self._undo_new_chain(operation)
        elif isinstance(operation, DeleteChain) and self._chain() is None:
            self._commit(f"-N {operation.chain}")
        self._remove_made(facts)
        return notes

    def _undo_add(self, operation: AddRule) -> tuple[str, ...]:
        if self._is_registered() and self._holds(operation.text):
            self._commit(f"-D {operation.chain} {operation.text}")
            return ()
        found = self._chain()
        ours = _comment(operation.text)
        if found is not None and ours is not None and any(_comment(there) == ours for there in found.rules):
            return (f"a rule of ours in {operation.where} was changed by somebody else since: it was left there",)
        return ()

    def _undo_delete(self, operation: DeleteRule, facts: dict[str, Any]) -> None:
        found = self._chain()
        if found is None or any(ruletext.same(there, facts["text"]) for there in found.rules):
            return
        position = min(int(facts["position"]), len(found.rules) + 1)
        self._commit(f"-I {operation.chain} {position} {facts['text']}")

    def _undo_policy(self, operation: SetPolicy, facts: dict[str, Any]) -> tuple[str, ...]:
        found = self._chain()
        if found is None or found.policy == facts["policy"]:
            return ()
        if found.policy != operation.policy:
            return (f"the policy of {operation.where} is {found.policy} now: it was left so",)
        self._commit(f"-P {operation.chain} {facts['policy']}")
        return ()

    def _undo_new_chain(self, operation: NewChain) -> tuple[str, ...]:
        found = self._chain()
        if found is None:
            return ()
        try:
            self._commit(f"-X {operation.chain}")
        except NetdoctorError:
            return (f"chain {operation.where} is in use: it was left there",)
        return ()

    # --- the tools

    def _chain(self) -> ruletext.Chain | None:
        if not self._is_registered():
            return None
        return ruletext.chain(self._save(), self.operation.table, self.operation.chain)

    def _is_registered(self) -> bool:
        """Whether asking a legacy tool about the table does not itself make the table."""
        if self.operation.backend == "nft":
            return True
        names = "/proc/net/ip_tables_names" if self.operation.family == "ip" else "/proc/net/ip6_tables_names"
        try:
            with open(names, encoding="ascii") as stream:  # noqa: PTH123
                return self.operation.table in stream.read().split()
        except FileNotFoundError:
            return False

    def _save(self) -> str:
        return self._run((f"{self.operation.program}-save", "-t", self.operation.table))

    def _holds(self, text: str) -> bool:
        """Ask the tool itself (-C), which knows every way to write a rule."""
        words = (self.operation.program, "-w", LOCK_SECONDS, "-t", self.operation.table, "-C", self.operation.chain)
        return self._status((*words, *ruletext.words(text))) == 0

    def _commit(self, line: str) -> None:
        """Make one change. Raises: NetdoctorError with what the tool said."""
        if self.operation.backend == "legacy":
            from netdoctor.apply import legacy

            if legacy.commit(self.operation.family, self.operation.table, line):
                return
        self._restore(line)

    def _restore(self, line: str) -> None:
        text = f"*{self.operation.table}\n{line}\nCOMMIT\n"
        wait = ("-w", LOCK_SECONDS) if self.operation.backend == "legacy" else ()
        self._run((f"{self.operation.program}-restore", "--noflush", *wait), text)

    def _nft_chains(self) -> list[tuple[str, str]] | None:
        """The (table, chain) of this family in nf_tables; None where nothing tells."""
        if self.operation.backend != "nft" or _which("nft") is None:
            return None
        text = self._run(("nft", "-j", "list", "chains", self.operation.family))
        listed = json.loads(text[max(text.find("{"), 0) :] or "{}").get("nftables", [])
        return [(one["chain"]["table"], one["chain"]["name"]) for one in listed if "chain" in one]

    def _remove_made(self, facts: dict[str, Any]) -> None:
        """Remove the base chains and the table that came into being with the change, where they are empty again."""
        before = facts.get("chains")
        now = self._nft_chains()
        if before is None or now is None:
            return
        family, table = self.operation.family, self.operation.table
        had = {tuple(one) for one in before}
        made = [name for of, name in now if of == table and (of, name) not in had]
        for name in made:
            found = ruletext.chain(self._save(), table, name)
            if name in ruletext.BUILT_IN[table] and found == ruletext.Chain("ACCEPT", ()):
                self._status((self.operation.program, "-w", "-t", table, "-X", name))
        left = [name for of, name in self._nft_chains() or () if of == table]
        if not left and made and not any(of == table for of, _ in had):
            listed = self._run(("nft", "list", "table", family, table))
            if all(line.strip().startswith(("table", "}", "#")) or not line.strip() for line in listed.splitlines()):
                self._status(("nft", "delete", "table", family, table))

    def _run(self, command: Sequence[str], text: str | None = None) -> str:
        done = self._start(command, text)
        if done.returncode != 0:
            said = [line for line in done.stderr.strip().splitlines() if line and not line.startswith("Try `")]
            why = printable(said[0] if said else f"status {done.returncode}")
            raise NetdoctorError(
                f"{command[0]} refused {self.operation.describe()}: {why}", "this step changed nothing"
            )
        return done.stdout

    def _status(self, command: Sequence[str]) -> int:
        return self._start(command, None).returncode

    def _start(self, command: Sequence[str], text: str | None) -> subprocess.CompletedProcess[str]:
        path = _which(command[0])
        if path is None:
            raise NetdoctorError(f"{command[0]} is not installed", "netdoctor doctor says what to install")
        try:
            return subprocess.run(
                [path, *command[1:]], input=text, capture_output=True, encoding="utf-8", errors="surrogateescape",
                timeout=SECONDS, check=False, pass_fds=(self.lock,), env={**os.environ, "LC_ALL": "C"},
                stdin=subprocess.DEVNULL if text is None else None,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise NetdoctorError(f"{command[0]} did not end within {SECONDS:.0f} s", "who holds the lock?") from None


def _which(name: str) -> str | None:
    return shutil.which(name, path=os.environ.get("PATH", "") + ":" + PATH)


def _line(operation: RulesetOperation) -> str:
    """Return the change as a line of iptables-restore."""
    chain = operation.chain
    if isinstance(operation, AddRule):
        return (
            f"-I {chain} {operation.position} {operation.text}"
            if operation.position
            else f"-A {chain} {operation.text}"
        )
    if isinstance(operation, DeleteRule):
        return f"-D {chain} {operation.text}"
    if isinstance(operation, SetPolicy):
        return f"-P {chain} {operation.policy}"
    return f"{'-N' if isinstance(operation, NewChain) else '-X'} {chain}"


def _comment(text: str) -> str | None:
    words = ruletext.words(text)
    comment = words[words.index("--comment") + 1] if "--comment" in words[:-1] else ""
    return comment if comment.startswith("netdoctor:") else None
