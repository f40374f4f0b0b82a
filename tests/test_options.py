import threading

import pytest

from sparsedsl.errors import PlanError
from sparsedsl.options import Config, OptionError, Options, current, from_environment, options


def test_defaults():
    settings = from_environment({})
    assert settings == Options()
    assert settings.thread_count >= 1


def test_environment():
    settings = from_environment(
        {
            "SPARSEDSL_CACHE_DIR": "/somewhere",
            "SPARSEDSL_NO_CACHE": "1",
            "SPARSEDSL_NUM_THREADS": "3",
            "SPARSEDSL_VERIFY": "true",
            "SPARSEDSL_SAFE": "0",
            "SPARSEDSL_DUMP": "dumps",
            "PATH": "ignored",
        }
    )
    assert settings.cache_dir == "/somewhere"
    assert settings.cache is False
    assert (settings.threads, settings.thread_count) == (3, 3)
    assert (settings.verify, settings.safe, settings.dump) == (True, False, "dumps")


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("SPARSEDSL_NUM_THREADS", "two", "expected a whole number, found 'two'"),
        ("SPARSEDSL_NUM_THREADS", "-1", "expected at least 0, found -1"),
        ("SPARSEDSL_VERIFY", "maybe", "expected 1 or 0, found 'maybe'"),
        ("SPARSEDSL_NO_CACHE", "2", "expected 1 or 0, found '2'"),
    ],
)
def test_a_wrong_variable_is_named(variable, text, message):
    with pytest.raises(PlanError) as caught:
        from_environment({variable: text})
    assert variable in str(caught.value)
    assert message in str(caught.value)


def test_options_hold_inside_the_block_and_nest(tmp_path):
    before = current()
    with options(threads=2, cache_dir=tmp_path) as outer:
        assert outer == current()
        assert current().cache_dir == str(tmp_path)
        with options(threads=1):
            assert (current().threads, current().cache_dir) == (1, str(tmp_path))
        assert current().threads == 2
    assert current() == before


def test_options_of_a_decorated_function_hold_in_each_call():
    @options(threads=3)
    def threads(depth=0):
        return [current().threads, *(threads(depth - 1) if depth else [])]

    before = current()
    assert threads(2) == [3, 3, 3]
    found = []
    workers = [threading.Thread(target=lambda: found.append(threads())) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == [[3]] * 4
    assert current() == before


def test_options_that_nobody_uses_say_so():
    with pytest.warns(RuntimeWarning, match=r"with sd.options\(threads=1\):") as caught:
        options(threads=1)
    assert caught[0].filename == __file__
    with pytest.raises(OptionError):
        options(thread=1)
    with pytest.raises(PlanError):
        options(threads=-1)
    block = options(threads=1)
    with block:
        pass
    with block as chosen:
        assert chosen.threads == 1
        with block:
            assert current().threads == 1
        assert current().threads == 1


def test_equal_changes_give_one_object_and_true_is_not_1():
    with options(threads=2, verify=True) as first:
        assert current() is first
    with options(threads=2, verify=True) as second:
        assert second is first
    with options(threads=1), pytest.raises(OptionError, match="'threads'"), options(threads=True):
        pass
    with pytest.raises(OptionError, match="'threads'"), options(threads=[2]):
        pass


def test_options_hold_in_this_thread_alone():
    seen = []
    with options(threads=7):
        thread = threading.Thread(target=lambda: seen.append(current().threads))
        thread.start()
        thread.join()
    assert seen == [Config().threads]


def test_unknown_and_wrong_options_are_refused():
    with pytest.raises(OptionError, match="did you mean 'threads'"), options(thread=2):
        pass
    with pytest.raises(TypeError, match="option 'verify': expected True or False, found 1"):
        Options(verify=1)
    with pytest.raises(PlanError, match="option 'threads': expected an int, found True"):
        Options(threads=True)
    for name in ("solver_timeout_ms", "search_limit", "expected_calls"):
        with pytest.raises(ValueError, match="expected at least 1, found 0") as caught:
            Options(**{name: 0})
        assert isinstance(caught.value, OptionError)


def test_config_reads_and_sets():
    config = Config()
    config.threads = 5
    assert config.threads == 5
    assert config.current().threads == 5
    with pytest.raises(OptionError):
        config.treads = 3
    with pytest.raises(PlanError):
        config.threads = -5
    assert config.threads == 5
    assert not hasattr(config, "nothing")
    assert "threads=5" in repr(config)
    config.reset()
    assert config.threads == Config().threads
