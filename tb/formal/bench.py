"""A design under proof: components with free inputs, properties, and a view into them."""

from amaranth import ClockDomain, Const, Elaboratable, Module, Signal, Value
from amaranth.back import rtlil
from amaranth.hdl import Assert, Assume, Fragment, MemoryInstance
from amaranth.lib import data
from amaranth.lib.wiring import In

__all__ = ["Bench", "Inside"]


class _Elaborated(Elaboratable):
    """A fragment in the place of its component."""

    def __init__(self, fragment):
        self._fragment = fragment

    def elaborate(self, platform):
        return self._fragment


def _signals(fragment, name):
    """Signals of a name that the statements of a fragment use, by identity."""
    return {id(signal): signal
            for statements in fragment.statements.values() for statement in statements
            for signal in [*statement._lhs_signals(), *statement._rhs_signals()]
            if signal.name == name}


class Inside:
    """The insides of an elaborated component, for helper invariants and reference state.

    Only ever read; the component is proved as it is. A name that is gone or ambiguous raises
    ``LookupError``.
    """

    def __init__(self, fragment, label, ports):
        self._fragment, self._label = fragment, label
        self._ports = {id(port) for port in ports}
        self._views = 0

    def _find(self, path):
        *folders, name = path.split("/")
        fragment, parent = self._fragment, None
        for folder in folders:
            parent = fragment
            found = [sub for sub, sub_name, *_ in fragment.subfragments if sub_name == folder]
            if len(found) != 1:
                names = sorted(str(sub_name) for _, sub_name, *_ in fragment.subfragments)
                raise LookupError(f"{self._label}: no part {folder!r} of {path!r} among {names}")
            [fragment] = found
        return fragment, parent, name

    def __getitem__(self, path):
        """The signal at ``part/part/name``; one within the component rather than its port."""
        fragment, parent, name = self._find(path)
        found = _signals(fragment, name)
        if len(found) > 1:      # not the ports of the component and of its parts
            others = set(self._ports)
            around = [sub for sub, *_ in fragment.subfragments]
            if parent is not None:
                around.append(parent)
            for other in around:
                others |= _signals(other, name).keys()
            found = {key: signal for key, signal in found.items() if key not in others}
        if len(found) != 1:
            raise LookupError(f"{self._label}: {len(found)} signals are called {path!r}")
        return next(iter(found.values()))

    def view(self, path, layout):
        """The signal at ``path`` with the fields of its layout."""
        return data.View(data.Layout.cast(layout), self[path])

    def memory(self, path, address):
        """The row at ``address`` of the memory at ``part/part/name``, read in the same cycle."""
        fragment, *_ = self._find(path + "/")
        if not isinstance(fragment, MemoryInstance):
            raise LookupError(f"{self._label}: {path!r} is no memory")
        depth, width = fragment._data.depth, len(fragment._write_ports[0]._data)
        self._views += 1
        row = Signal(width, name=f"view_{self._views}")
        at = Signal(range(depth), name=f"view_{self._views}_address")
        fragment.read_port(domain="comb", addr=at, data=row, en=Const(1), transparent_for=())
        return row, at.eq(address)


class Bench:
    """Collects components, free inputs, assumptions and assertions, and writes them as RTLIL.

    Whatever no statement drives is free in every cycle, the reset included, so a property has to
    survive a reset at any moment. Checkers are reset together with what they check.

    Parameters
    ----------
    reset : bool
        False: there is no reset after the start.

    Members
    -------
    m : Module
        Reference state and glue.
    """

    def __init__(self, *, reset=True):
        self.m = Module()
        self.m.domains.sync = domain = ClockDomain(reset_less=not reset)
        self._ports = [domain.clk] + [domain.rst] * reset
        self._names = set()

    def free(self, name, shape=1):
        """An input that may have any value in each cycle."""
        signal = Signal(shape, name=name)
        self._ports.append(Value.cast(signal))
        return signal

    def constant(self, name, shape=1):
        """An input that has any value, the same until the next reset."""
        signal = self.free(name, shape)
        self.assume_constant(name, signal)
        return signal

    def add(self, name, component):
        """Add a component; its inputs are free unless driven. Returns its ``Inside``."""
        fragment = Fragment.get(component, None)
        self.m.submodules[name] = _Elaborated(fragment)
        ports = [(member.flow, Value.cast(port))
                 for _, member, port in component.signature.flatten(component)]
        self._ports += [value for flow, value in ports
                        if flow is In and isinstance(value, Signal) and len(value)]
        return Inside(fragment, name, [value for _, value in ports])

    def invariant(self, condition):
        """Must hold in every cycle."""
        self.m.d.comb += Assert(condition, src_loc_at=1)

    def assume(self, condition):
        """Holds in every cycle: a duty of the surroundings."""
        self.m.d.comb += Assume(condition, src_loc_at=1)

    def assume_constant(self, name, port):
        """An input keeps its value until the next reset."""
        value = Value.cast(port)
        known = Signal(name=f"{name}_known")
        before = Signal(len(value), name=f"{name}_before")
        self.m.d.sync += [known.eq(1), before.eq(value)]
        self.assume(~known | (value == before))

    def emit(self):
        return rtlil.convert(self.m, name="top", ports=self._ports)
