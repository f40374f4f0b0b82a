import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdu.emulate.engine import Context, Engine
from rdu.errors import DeadlockError


class Source(Context):
    def __init__(self, channel, count, cycles):
        super().__init__("source")
        self.channel, self.count, self.cycles = channel, count, cycles

    def program(self):
        for n in range(self.count):
            self.work(self.cycles)
            yield from self.push(self.channel, n, count=2)


class Sink(Context):
    def __init__(self, channel, count, cycles, name="sink"):
        super().__init__(name)
        self.channel, self.count, self.cycles = channel, count, cycles
        self.seen = []

    def program(self):
        for _ in range(self.count):
            self.seen.append((yield from self.pop(self.channel, 2)))
            self.work(self.cycles)


class Swap(Context):
    def __init__(self, name, takes, gives):
        super().__init__(name)
        self.takes, self.gives = takes, gives

    def program(self):
        yield from self.pop(self.takes)
        yield from self.push(self.gives)


@settings(deadline=None, max_examples=80)
@given(
    st.integers(1, 30), st.integers(0, 9), st.integers(0, 9), st.integers(1, 6), st.integers(0, 7)
)
def test_pipeline_closed_form(count, fast, slow, capacity, latency):
    engine = Engine()
    channel = engine.channel("c", capacity, latency)
    source, sink = Source(channel, count, fast), Sink(channel, count, slow)
    engine.add(sink)
    engine.add(source)
    end = engine.run()
    # The same recurrence written out: element n is pushed when its place is free again.
    push, pop = [], []
    time_source = time_sink = 0
    for n in range(count):
        free = pop[n - capacity] + latency if n >= capacity else 0
        time_source = max(time_source + fast, free)
        push.append(time_source)
        time_sink = max(time_sink, push[n] + latency)
        pop.append(time_sink)
        time_sink += slow
    assert end == max(time_source, time_sink)
    assert sink.seen == list(range(count))
    assert channel.pushed == channel.popped == count
    assert channel.pushed_bytes == channel.popped_bytes == 2 * count


def test_times_do_not_depend_on_the_order_of_contexts():
    ends = set()
    for seed in range(10):
        engine = Engine()
        channels = [engine.channel(f"c{n}", 1 + n % 2, n) for n in range(3)]

        class Relay(Context):
            def __init__(self, takes, gives, cycles):
                super().__init__("relay")
                self.takes, self.gives, self.cycles = takes, gives, cycles

            def program(self):
                for _ in range(20):
                    value = yield from self.pop(self.takes)
                    self.work(self.cycles)
                    yield from self.push(self.gives, value)

        contexts = [
            Source(channels[0], 20, 3),
            Relay(channels[0], channels[1], 5),
            Relay(channels[1], channels[2], 2),
            Sink(channels[2], 20, 4),
        ]
        random.Random(seed).shuffle(contexts)
        for context in contexts:
            engine.add(context)
        ends.add(engine.run())
    assert len(ends) == 1


def test_deadlock_names_the_channels_and_who_waits():
    engine = Engine()
    a, b = engine.channel("left to right", 1), engine.channel("right to left", 1)
    engine.add(Swap("left", b, a))
    engine.add(Swap("right", a, b))
    with pytest.raises(DeadlockError) as caught:
        engine.run()
    message = str(caught.value)
    assert "left waits to read right to left (0 of 1 held)" in message
    assert "right waits to read left to right (0 of 1 held)" in message
