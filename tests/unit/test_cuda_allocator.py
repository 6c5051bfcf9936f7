"""What torch's allocator would hold on a CUDA device: its rules, measured examples, and any sequence at all."""

import itertools
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fairtune.plan.allocators.cuda import CudaCachingAllocator, OutOfMemory

KIB, MIB, GIB = 2**10, 2**20, 2**30


def allocate(allocator, *sizes):
    return [allocator.allocate(size) for size in sizes]


def free(allocator, handles):
    for handle in handles:
        allocator.free(handle)


def layout(allocator):
    """Of every segment the sizes of its blocks; negative where a block is free."""
    return [[span.size if span.handle is not None else -span.size for span in spans] for spans in allocator.snapshot()]


def place(allocator, handle):
    return next(span.address for spans in allocator.snapshot() for span in spans if span.handle == handle)


@pytest.mark.parametrize(
    ("size", "allocated", "reserved"),
    [
        (1, 512, 2 * MIB),
        (512, 512, 2 * MIB),
        (513, 1024, 2 * MIB),
        (MIB, MIB, 2 * MIB),
        (MIB + 1, MIB + 512, 20 * MIB),
        (10 * MIB - 512, 10 * MIB - 512, 20 * MIB),
        (10 * MIB - 511, 10 * MIB, 10 * MIB),
        (10 * MIB, 10 * MIB, 10 * MIB),
        (10 * MIB + 1, 10 * MIB + 512, 12 * MIB),
        (11 * MIB, 12 * MIB, 12 * MIB),  # the rest, 1 MiB, is too little to be split off
        (11 * MIB - 512, 11 * MIB - 512, 12 * MIB),
        (3 * GIB + 1, 3 * GIB + 512, 3 * GIB + 2 * MIB),
    ],
)
def test_the_first_request_takes_a_segment_of_the_documented_size(size, allocated, reserved):
    allocator = CudaCachingAllocator()
    allocator.allocate(size)
    assert (allocator.allocated, allocator.reserved) == (allocated, reserved)


def test_the_constants_are_those_of_the_installed_torch():
    header = Path(torch.__file__).parent / "include/c10/core/AllocatorConfig.h"
    text = header.read_text(encoding="utf-8") if header.exists() else ""
    known = {name: int(value) for name, value in re.findall(r"constexpr size_t (k\w+) = (\d+);", text)}
    if "kMinLargeAlloc" not in known:
        pytest.skip("this torch has no such header")
    large = re.search(r"(?:large_segment_size_\{|kLargeBuffer = )(\d+)", text)
    assert large is not None
    first = {}
    for size in (1, known["kSmallSize"], known["kSmallSize"] + 1, known["kMinLargeAlloc"], known["kMinLargeAlloc"] + 1):
        allocator = CudaCachingAllocator()
        allocator.allocate(size)
        first[size] = allocator.reserved
    assert list(first.values()) == [
        *(known["kSmallBuffer"], known["kSmallBuffer"], int(large.group(1)), known["kMinLargeAlloc"]),
        known["kMinLargeAlloc"] + known["kRoundLarge"],
    ]
    assert known["kMinBlockSize"] == 512
    assert re.search(r"max_split_size_\{\s*std::numeric_limits<size_t>::max\(\)\}", text)
    assert re.search(r"use_expandable_segments_\{false\}", text)


# test_graph_memory_stats_and_use_result_after_destroy_graph in test/test_cuda.py of torch, which runs on devices: bytes
# of a tensor; segments and bytes after ``b = a.clone()`` and five ``b = b.clone() + 1``; bytes when only b is left.
@pytest.mark.parametrize(
    ("size", "segments", "reserved", "left"),
    [
        (512, 1, 2 * MIB, 2 * MIB),
        (MIB, 2, 4 * MIB, 2 * MIB),
        (MIB + 512, 1, 20 * MIB, 20 * MIB),
        (10 * MIB - 512, 2, 40 * MIB, 20 * MIB),
        (10 * MIB + 512, 3, 36 * MIB, 12 * MIB),
    ],
)
def test_it_holds_what_torch_expects_of_its_own_in_its_tests_on_devices(size, segments, reserved, left):
    allocator = CudaCachingAllocator()
    b = allocator.allocate(size)
    for _ in range(5):
        clone, total = allocate(allocator, size, size)
        free(allocator, [clone, b])
        b = total
    assert (len(allocator.snapshot()), allocator.reserved) == (segments, reserved)
    allocator.trim()
    assert (len(allocator.snapshot()), allocator.reserved) == (1, left)


def test_convolutions_hold_what_was_measured_on_a_device():
    """Issue 34330 of torch: 75.497472, 180.355072, 285.212672 and again 285.212672 MB of reserved memory."""
    allocator = CudaCachingAllocator()
    seen = []
    # Weights and biases of Conv2d(100, 200, 3) and Conv2d(200, 200, 3), and an input of (2, 100, 256, 256), in fp32.
    allocate(allocator, 4 * 200 * 100 * 9, 4 * 200, 4 * 200 * 200 * 9, 4 * 200, 4 * 2 * 100 * 256**2)
    seen.append(allocator.reserved)
    first = allocator.allocate(4 * 2 * 200 * 256**2)
    seen.append(allocator.reserved)
    allocator.allocate(4 * 2 * 200 * 256**2)
    allocator.free(first)
    seen.append(allocator.reserved)
    allocator.trim()
    allocate(allocator, 4 * 2 * 200 * 256**2, 4 * 2 * 4, 4 * 2 * 4)  # normalised in 4 groups: means, deviations
    seen.append(allocator.reserved)
    assert seen == [75_497_472, 180_355_072, 285_212_672, 285_212_672]


def test_images_hold_what_was_measured_on_a_device():
    """Issue 69526 of torch: 294 MB allocated and 296 MB reserved, for Conv2d(3, 28, 3) and 512 images."""
    allocator = CudaCachingAllocator()
    allocate(allocator, 4 * 28 * 3 * 9, 4 * 28, 4 * 512 * 3 * 224**2)
    assert (allocator.allocated // MIB, allocator.reserved // MIB) == (294, 296)


def test_blocks_lie_where_a_recorded_trace_has_them():
    """The trace of a ResNet-18 in "Visualizing PyTorch memory usage over time" (DeVito 2022)."""
    allocator = CudaCachingAllocator()
    handles = allocate(allocator, 37632, 256, 256, 256, 256, 8)
    assert [place(allocator, handle) for handle in handles] == [0, 37888, 38400, 38912, 39424, 39936]
    assert allocator.reserved == 2 * MIB


def test_small_then_large_holds_twice_what_large_then_small_does():
    """The worked example of fragmentation in torch's development log ("When does fragmentation occur", 2026)."""
    eight, four = [16 * MIB] * 8, [32 * MIB] * 4
    upwards, downwards = CudaCachingAllocator(), CudaCachingAllocator()
    free(upwards, allocate(upwards, *eight))
    allocate(upwards, *four)
    free(downwards, allocate(downwards, *four))
    allocate(downwards, *eight)
    assert (upwards.reserved, downwards.reserved) == (256 * MIB, 128 * MIB)
    assert layout(downwards) == [[16 * MIB, 16 * MIB]] * 4


def test_a_segment_is_split_and_merged_as_in_that_log():
    allocator = CudaCachingAllocator()
    free(allocator, allocate(allocator, 32 * MIB))
    first, second = allocate(allocator, 16 * MIB, 16 * MIB)
    assert layout(allocator) == [[16 * MIB, 16 * MIB]]
    allocator.free(first)
    assert layout(allocator) == [[-16 * MIB, 16 * MIB]]
    allocator.free(second)
    assert layout(allocator) == [[-32 * MIB]]


def test_a_smaller_tensor_can_hold_more_since_it_is_of_the_other_pool():
    crossing, staying = CudaCachingAllocator(), CudaCachingAllocator()
    for allocator, second in ((crossing, MIB // 2), (staying, 2 * MIB)):
        free(allocator, allocate(allocator, 2 * MIB))
        allocator.allocate(second)
    assert (crossing.reserved, staying.reserved) == (22 * MIB, 20 * MIB)


def test_the_small_pool_splits_off_any_rest_and_the_large_one_only_more_than_a_mebibyte():
    allocator = CudaCachingAllocator()
    allocate(allocator, MIB, MIB - 512)
    assert layout(allocator) == [[MIB, MIB - 512, -512]]

    allocator = CudaCachingAllocator()
    kept, _ = allocate(allocator, 19 * MIB // 2, 19 * MIB // 2)
    assert layout(allocator) == [[19 * MIB // 2, 21 * MIB // 2]]
    assert allocator.allocated == allocator.reserved == 20 * MIB
    allocator.free(kept)
    assert allocator.allocated == 21 * MIB // 2

    allocator = CudaCachingAllocator()
    allocate(allocator, 19 * MIB // 2, 19 * MIB // 2 - 512)
    assert layout(allocator) == [[19 * MIB // 2, 19 * MIB // 2 - 512, -(MIB + 512)]]


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
def test_freed_neighbours_merge_in_whatever_order(order):
    allocator = CudaCachingAllocator()
    handles = allocate(allocator, 512 * KIB, 700 * KIB, 300 * KIB)
    for which in order:
        allocator.free(handles[which])
    assert layout(allocator) == [[-2 * MIB]]


def test_the_smallest_free_block_that_fits_is_taken_and_of_equal_ones_the_lowest():
    allocator = CudaCachingAllocator()
    large, small, twin, middle = allocate(allocator, 40 * MIB, 20 * MIB, 20 * MIB, 30 * MIB)
    places = {name: place(allocator, name) for name in (large, small, twin, middle)}
    free(allocator, [twin, large, middle, small])
    taken = [place(allocator, allocator.allocate(size)) for size in (18 * MIB, 20 * MIB, 20 * MIB, 31 * MIB)]
    # The first leaves 2 MiB of its block; the third finds no other block of 20 MiB.
    assert taken == [places[small], places[twin], places[middle], places[large]]
    assert allocator.reserved == 110 * MIB


def test_trimming_gives_back_wholly_free_segments_alone():
    allocator = CudaCachingAllocator()
    gone, used, beside = allocate(allocator, 64 * MIB, 4 * MIB, 4 * MIB)
    free(allocator, [gone, beside])
    allocator.trim()
    assert layout(allocator) == [[4 * MIB, -16 * MIB]]
    allocator.free(used)
    assert allocator.reserved == 20 * MIB
    allocator.trim()
    assert (allocator.reserved, layout(allocator)) == (0, [])
    allocator.allocate(4 * MIB)
    assert allocator.reserved == 20 * MIB


def test_nothing_lies_behind_zero_bytes():
    allocator = CudaCachingAllocator(limit=1)
    first, second = allocate(allocator, 0, 0)
    assert first != second
    assert allocator.reserved == 0
    allocator.free(first)
    with pytest.raises(ValueError, match="handle 0"):
        allocator.free(first)


def test_under_a_limit_free_segments_go_back_before_memory_is_short():
    unlimited, limited = CudaCachingAllocator(), CudaCachingAllocator(limit=160 * MIB)
    for allocator in (unlimited, limited):
        free(allocator, allocate(allocator, *[16 * MIB] * 8))
        small = allocator.allocate(1)
        assert allocator.reserved == 130 * MIB
        allocate(allocator, 32 * MIB, 32 * MIB)
        assert layout(allocator)[-3:] == [[512, -(2 * MIB - 512)], [32 * MIB], [32 * MIB]]
        allocator.free(small)
    assert (unlimited.reserved, limited.reserved) == (194 * MIB, 66 * MIB)


def test_a_limit_is_reached_before_it_is_passed():
    allocator = CudaCachingAllocator(limit=40 * MIB)
    free(allocator, allocate(allocator, 16 * MIB))
    allocator.allocate(24 * MIB)
    assert layout(allocator) == [[-16 * MIB], [24 * MIB]]
    allocator.allocate(16 * MIB)
    with pytest.raises(OutOfMemory):
        allocator.allocate(1)


def test_memory_is_short_where_what_is_free_lies_between_blocks_in_use():
    allocator = CudaCachingAllocator(limit=GIB)
    kept, between, _, whole = allocate(allocator, 8 * MIB, 8 * MIB, 2 * MIB, 512 * MIB)
    free(allocator, [between, whole])
    with pytest.raises(
        OutOfMemory, match=r"1006 MiB more cannot be had: 20 MiB of 1.00 GiB are held, 10 MiB of them"
    ) as raised:
        allocator.allocate(1005 * MIB - 1)
    error = raised.value
    assert (error.wanted, error.reserved, error.allocated, error.limit) == (1006 * MIB, 20 * MIB, 10 * MIB, GIB)
    assert layout(allocator) == [[8 * MIB, -8 * MIB, 2 * MIB, -2 * MIB]]
    allocate(allocator, 1004 * MIB, 8 * MIB)
    allocator.free(kept)
    assert allocator.reserved == GIB


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_of_nothing_is_refused(limit):
    with pytest.raises(ValueError, match=f"a limit of {limit} bytes"):
        CudaCachingAllocator(limit)


def test_a_wrong_request_or_handle_is_refused_and_changes_nothing():
    allocator = CudaCachingAllocator()
    first = allocator.allocate(100)
    with pytest.raises(ValueError, match="-1 bytes"):
        allocator.allocate(-1)
    with pytest.raises(ValueError, match="handle 99"):
        allocator.free(99)
    allocator.free(first)
    again = allocator.allocate(100)
    assert again != first
    with pytest.raises(ValueError, match=f"handle {first}: it was freed before"):
        allocator.free(first)
    assert (allocator.allocated, allocator.reserved) == (512, 2 * MIB)


class Plain:
    """The same rules once more, by looking at everything each time: lists of ``[size, handle or None]``."""

    def __init__(self, limit):
        self.limit, self.segments = limit, []

    @property
    def reserved(self):
        return sum(size for _, blocks in self.segments for size, _ in blocks)

    def trim(self):
        self.segments = [(small, blocks) for small, blocks in self.segments if [user for _, user in blocks] != [None]]

    def allocate(self, size, handle):
        size = (size + 511) // 512 * 512
        small = size <= MIB
        fitting = [
            (blocks[at][0], segment, at)
            for segment, (kind, blocks) in enumerate(self.segments)
            for at in range(len(blocks))
            if kind == small and blocks[at][1] is None and blocks[at][0] >= size
        ]
        if not fitting:
            segment = 2 * MIB if small else 20 * MIB if size < 10 * MIB else (size + 2 * MIB - 1) // (2 * MIB) * 2 * MIB
            if self.reserved + segment > self.limit:
                self.trim()
            if self.reserved + segment > self.limit:
                return False
            self.segments.append((small, [[segment, None]]))
            fitting = [(segment, -1, 0)]
        found, segment, at = min(fitting)
        rest = found - size
        split = rest > 0 if small else rest > MIB
        self.segments[segment][1][at : at + 1] = [[size, handle], [rest, None]] if split else [[found, handle]]
        return True

    def free(self, handle):
        for _, blocks in self.segments:
            for block in blocks:
                if block[1] == handle:
                    block[1] = None
            merged = []
            for size, user in blocks:
                if user is None and merged and merged[-1][1] is None:
                    merged[-1][0] += size
                else:
                    merged.append([size, user])
            blocks[:] = merged


sizes = st.one_of(
    st.integers(1, 3 * MIB),
    st.integers(1, 40 * MIB),
    st.sampled_from([1, 512, MIB, MIB + 1, 2 * MIB, 9 * MIB, 10 * MIB - 1, 10 * MIB, 11 * MIB, 19 * MIB]),
)
steps = st.lists(
    st.one_of(sizes, st.just("free"), st.just("trim")).flatmap(
        lambda step: st.tuples(st.just(step), st.integers(0, 9))
    ),
    max_size=60,
)


@settings(deadline=None)
@given(steps, st.sampled_from([60 * MIB, 200 * MIB, 10**15]))
def test_any_sequence_holds_what_the_rules_say(sequence, limit):
    allocator, plain = CudaCachingAllocator(limit), Plain(limit)
    used = {}
    for step, which in sequence:
        if step == "trim":
            allocator.trim()
            plain.trim()
        elif step != "free":
            try:
                handle = allocator.allocate(step)
            except OutOfMemory:
                assert not plain.allocate(step, None)
            else:
                used[handle] = step
                assert plain.allocate(step, handle)
        elif used:
            handle = list(used)[which % len(used)]
            del used[handle]
            allocator.free(handle)
            plain.free(handle)
        spans = allocator.snapshot()
        assert [[[span.size, span.handle] for span in segment] for segment in spans] == [
            blocks for _, blocks in plain.segments
        ]
        check(allocator, used, limit)
    free(allocator, used)
    assert allocator.allocated == 0
    assert all(len(segment) == 1 for segment in allocator.snapshot())
    allocator.trim()
    assert allocator.reserved == 0


def check(allocator, used, limit):
    """What holds at any time, whatever was asked for."""
    spans = [span for segment in allocator.snapshot() for span in segment]
    in_use = {span.handle: span for span in spans if span.handle is not None}
    assert in_use.keys() == used.keys()
    assert all(in_use[handle].size >= size for handle, size in used.items())
    # No two blocks overlap: each begins where, or after, the one before it ends.
    assert all(one.address + one.size <= other.address for one, other in itertools.pairwise(spans))
    assert all(
        one.address + one.size == other.address and not (one.handle is None and other.handle is None)
        for segment in allocator.snapshot()
        for one, other in itertools.pairwise(segment)
    )
    assert sum(span.size for span in in_use.values()) == allocator.allocated <= allocator.reserved <= limit
    assert sum(span.size for span in spans) == allocator.reserved
    assert allocator.reserved % (2 * MIB) == 0
