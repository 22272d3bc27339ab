"""Taking turns."""

__all__ = ["next_in_turn"]


def next_in_turn(m, requests, owner, chosen):
    """Drive ``chosen`` with the first requester above ``owner``, else the first of all.

    Parameters
    ----------
    m : Module
        Where the logic is added.
    requests : Value
        A bit for each requester. Without any, ``chosen`` is left alone.
    owner, chosen : Value
        Numbers of requesters.
    """
    # Later assignments win.
    for n in reversed(range(len(requests))):
        with m.If(requests[n]):
            m.d.comb += chosen.eq(n)
    for n in reversed(range(1, len(requests))):     # 0 is above nobody
        with m.If(requests[n] & (owner < n)):
            m.d.comb += chosen.eq(n)
