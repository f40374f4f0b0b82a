"""How many experts, on what node, at what latency: nodes, cache policies and ablations."""

import rdu
from rdu import coe
from rdu.coe.planning import nodes_needed
from rdu.errors import CapacityError
from rdu.llm import generate

NODES = {
    "SN40L node": coe.sn40l_node(),
    "DGX H100, one link": coe.dgx_h100(),
    "DGX H100, eight links": coe.dgx_h100(links=8),
}


def by_node(experts: int, requests: int) -> None:
    """The same requests on each node; popular experts are asked for more often."""
    composition = coe.Composition.uniform(experts)
    trace = coe.Trace.zipf(requests, experts, batch=4)
    for name, platform in NODES.items():
        try:
            report = coe.serve(composition, platform, trace)
        except CapacityError as error:
            print(f"{name:22} {nodes_needed(composition, platform)} nodes: {error.message}")
            continue
        latency = f"{1e3 * report.p50:.0f} ms, p99 {1e3 * report.p99:.0f} ms"
        print(f"{name:22} median {latency}, hit rate {report.hit_rate:.2f}")


def by_sockets(experts: int, requests: int) -> None:
    """Nodes of other sizes, each with the time of an expert that the performance model gives."""
    composition = coe.Composition.uniform(experts)
    trace = coe.Trace.zipf(requests, experts)
    for sockets in (4, 8, 16):
        node = rdu.sn40l_node(sockets)
        runs = [(n, generate("llama2-7b", node, 128, n).seconds) for n in (20, 200)]
        platform = coe.Platform.of_node(node, runs, coe.LLAMA2_7B_BYTES)
        try:
            report = coe.serve(composition, platform, trace)
        except CapacityError as error:
            print(f"{platform.name:22} {error.message}")
            continue
        latency = f"{1e3 * report.p50:.0f} ms, p99 {1e3 * report.p99:.0f} ms"
        print(f"{platform.name:22} median {latency}, hit rate {report.hit_rate:.2f}")


def by_policy(experts: int, requests: int) -> None:
    """What gives way when HBM is full; Belady's choice looks into the future."""
    composition = coe.Composition.uniform(experts)
    trace = coe.Trace.zipf(requests, experts)
    for policy in coe.POLICIES:
        report = coe.serve(composition, coe.sn40l_node(), trace, policy)
        print(f"{policy:12} {report.switches} switches")


def ablations(experts: int, requests: int) -> None:
    """What the paper's runtime does not do: copy ahead, beside a run, order requests by expert."""
    composition = coe.Composition.uniform(experts)
    trace = coe.Trace.bursts(requests, experts, batch=8)
    ahead = {"overlap": True, "prefetch": True}
    for modes in ({}, {"overlap": True}, ahead, ahead | {"window": 64}):
        for grouped in (False, True):
            node = coe.dgx_a100()
            report = coe.serve(composition, node, trace, **modes, group_by_expert=grouped)
            names = [*modes, *(["group_by_expert"] if grouped else [])] or ["as in the paper"]
            print(f"{', '.join(names):35} {report.throughput:.2f} requests a second")


def main() -> None:
    for experts in (100, 200):
        print(f"{experts} experts")
        by_node(experts, 1000)
    by_sockets(150, 1000)
    by_policy(100, 1000)
    ablations(100, 1000)


if __name__ == "__main__":
    main()
