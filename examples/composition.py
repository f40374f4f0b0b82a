"""A composition of experts for real: text in, routed, text out, every layer on the unit."""

from dataclasses import replace

import rdu
from rdu import coe, small
from rdu.memory.tiers import Tier

PROMPTS = [
    "If the iterable is ",
    "Return a new array ",
    "the distribution is ",
]


def main(count: int = 12) -> None:
    # Three decoders, trained on the language reference and the docstrings of NumPy and scipy
    # (`python -m rdu.small` trains them again), and a router over hashed words.
    composition = small.shipped()
    node = rdu.sn40l_node(sockets=1)

    replies = composition.run(PROMPTS, count, node)
    for reply in replies.replies:
        microseconds = 1e6 * reply.seconds
        print(f"{reply.expert:10} {reply.prompt!r} -> {reply.text!r}  {microseconds:.0f} us")

    # The same text as plain NumPy writes.
    expected = composition.reference(PROMPTS, count)
    assert [r.text for r in replies.replies] == [r.text for r in expected.replies]

    # What switching adds where HBM holds the router and two of the three experts.
    sizes = [2 * model.parameters for model in composition.experts.values()]
    room = composition.router.weight_bytes + 2 * max(sizes)
    platform = replace(coe.sn40l_node(), hbm=Tier("hbm", room, 1.44e13))
    report = composition.serve(replies, platform)
    stall, total = (1e6 * seconds for seconds in (report.time["stall"], report.seconds))
    print(f"{report.switches} switches take {stall:.2f} of {total:.0f} us")


if __name__ == "__main__":
    main()
