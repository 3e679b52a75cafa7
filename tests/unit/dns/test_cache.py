"""The cache: lifetimes by its clock, a bound in octets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relevo.dns.cache import Cache, answer_size


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_value_lives_until_its_time_is_over() -> None:
    clock = Clock()
    cache: Cache[str, int] = Cache(max_size=100, clock=clock)
    cache.put("a", 1, lifetime_s=10, size=5)
    clock.now = 9.9
    assert cache.get("a") == 1
    clock.now = 10
    assert cache.get("a") is None
    assert (len(cache), cache.size) == (0, 0)


def test_a_value_without_lifetime_replaces_the_old_one_by_nothing() -> None:
    cache: Cache[str, int] = Cache(max_size=100, clock=Clock())
    cache.put("a", 1, lifetime_s=10, size=5)
    cache.put("a", 2, lifetime_s=0, size=5)
    assert cache.get("a") is None


def test_what_was_used_longest_ago_goes_first() -> None:
    cache: Cache[str, int] = Cache(max_size=100, clock=Clock())
    for number in range(10):
        cache.put(str(number), number, lifetime_s=10, size=10)
    assert cache.get("0") == 0
    cache.put("new", 10, lifetime_s=10, size=10)
    assert (cache.get("0"), cache.get("1"), cache.get("new")) == (0, None, 10)


def test_a_huge_value_does_not_push_out_all_others() -> None:
    cache: Cache[str, int] = Cache(max_size=100, clock=Clock())
    cache.put("a", 1, lifetime_s=10, size=10)
    cache.put("huge", 2, lifetime_s=10, size=11)
    assert (cache.get("a"), cache.get("huge")) == (1, None)


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.integers(0, 20), st.integers(1, 15)), max_size=40
    )
)
def test_the_bound_holds_and_the_sum_is_right(puts: list[tuple[str, int, int]]) -> None:
    cache: Cache[str, int] = Cache(max_size=100, clock=Clock())
    sizes = {}
    for key, lifetime, size in puts:
        cache.put(key, size, lifetime_s=lifetime, size=size)
        sizes[key] = size
        assert cache.size <= 100
    assert cache.size == sum(sizes[key] for key in sizes if cache.get(key) is not None)


def test_the_size_of_an_answer_grows_with_what_it_holds() -> None:
    assert answer_size("x", (b"a" * 5000,)) > 5000
    assert answer_size("x", tuple(range(100))) > 100 * 100
