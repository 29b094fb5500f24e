"""DataLoader: every sample once, the same order for the same (seed, epoch), and a resumed run that notices nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minivision.random
from minivision.data import ArrayDataset, DataError, DataLoader
from minivision.tensor import Tensor


def numbered(count):
    """Images that know their own number."""
    return ArrayDataset(np.arange(count, dtype=np.float32).reshape(count, 1, 1, 1), np.arange(count))


class Items:
    """A data set that is nothing but its two methods."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        return self.dataset[index]


def visited(loader):
    return [labels.numpy().tolist() for _, labels in loader]


@settings(deadline=None, max_examples=60)
@given(count=st.integers(1, 40), batch_size=st.integers(1, 50), shuffle=st.booleans(), drop_last=st.booleans(),
       seed=st.integers(0, 2**70), by_item=st.booleans())
def test_an_epoch_visits_every_sample_once(count, batch_size, shuffle, drop_last, seed, by_item):
    dataset = Items(numbered(count)) if by_item else numbered(count)
    loader = DataLoader(dataset, batch_size, shuffle, drop_last, seed)
    batches = list(loader)
    assert len(batches) == len(loader) == (count // batch_size if drop_last else -(-count // batch_size))
    labels = [label for _, part in batches for label in part.numpy().tolist()]
    assert len(set(labels)) == len(labels) == (count // batch_size * batch_size if drop_last else count)
    for images, part in batches[:-1]:
        assert len(part.numpy()) == batch_size
        np.testing.assert_array_equal(images.numpy().ravel(), part.numpy())       # image and label stay together
    if not shuffle:
        assert labels == list(range(len(labels)))


def test_batches_are_tensors_of_float32_and_int64():
    images = np.arange(256, dtype=np.uint8).reshape(4, 1, 8, 8)
    (x, y), = DataLoader((images, np.array([0, 1, 2, 3], np.uint8)), 4)
    assert isinstance(x, Tensor) and isinstance(y, Tensor) and not x.requires_grad
    assert x.shape == (4, 1, 8, 8) and x.dtype == np.float32 and y.shape == (4,) and y.dtype == np.int64
    np.testing.assert_array_equal(x.numpy(), images.astype(np.float32) / np.float32(255))
    assert x.numpy().min() == 0 and x.numpy().max() == 1


def test_floats_are_taken_as_they_are_and_float_targets_stay_floats():
    (x, y), = DataLoader((np.array([[-3.0], [700.0]]), np.array([0.5, 1.5])), 2)
    assert x.numpy().tolist() == [[-3], [700]] and x.dtype == np.float32
    assert y.numpy().tolist() == [0.5, 1.5] and y.dtype == np.float32


def test_gathering_by_item_and_at_once_agree_bit_for_bit():
    rng = np.random.default_rng(0)
    dataset = ArrayDataset(rng.integers(0, 256, (23, 3, 5, 4), np.uint8), rng.integers(0, 10, 23))
    for (x, y), (u, v) in zip(DataLoader(dataset, 5, True, seed=3), DataLoader(Items(dataset), 5, True, seed=3)):
        assert x.numpy().tobytes() == u.numpy().tobytes() and y.numpy().tobytes() == v.numpy().tobytes()


@pytest.mark.parametrize("shuffle", [False, True])
def test_changing_a_batch_leaves_the_data_set_alone(shuffle):
    dataset = numbered(6)
    for images, labels in DataLoader(dataset, 6, shuffle):
        images.data[:] = -1
        labels.data[:] = -1
    assert dataset.images.ravel().tolist() == dataset.labels.tolist() == list(range(6))


def test_epochs_differ_and_repeat():
    first, second = DataLoader(numbered(50), 8, True, seed=1), DataLoader(numbered(50), 8, True, seed=1)
    epochs = [visited(first) for _ in range(4)]
    assert epochs == [visited(second) for _ in range(4)]
    assert len({str(epoch) for epoch in epochs}) == 4
    assert visited(DataLoader(numbered(50), 8, True, seed=2)) != epochs[0]
    second.epoch = 2
    assert visited(second) == epochs[2] and second.epoch == 3


def test_the_order_is_pinned():
    """The order is part of what a seed promises; if this fails, old runs can no longer be repeated."""
    loader = DataLoader(numbered(8), 8, True, seed=7)
    assert loader.order(0).tolist() == [6, 3, 4, 0, 2, 7, 5, 1]
    assert loader.order(1).tolist() == [1, 3, 2, 7, 4, 5, 0, 6]
    assert loader.order(0).dtype == np.int64


def test_a_resumed_run_goes_on_bit_for_bit():
    whole = DataLoader(numbered(30), 4, True, seed=5)
    epochs = [visited(whole) for _ in range(5)]
    before = DataLoader(numbered(30), 4, True, seed=5)
    for _ in range(2):
        visited(before)
    state = before.state_dict()
    assert state == {"seed": 5, "epoch": 2} and all(type(value) is int for value in state.values())
    after = DataLoader(numbered(30), 4, True)
    after.load_state_dict({name: np.array(value) for name, value in state.items()})       # as a checkpoint may hold it
    assert [visited(after) for _ in range(3)] == epochs[2:]


def test_a_loop_left_early_is_not_repeated():
    loader = DataLoader(numbered(30), 4, True, seed=5)
    next(iter(loader))
    assert loader.epoch == 1
    again = DataLoader(numbered(30), 4, True, seed=5)
    again.epoch = 1
    assert visited(loader) == visited(again)
    one, two = iter(loader), iter(loader)                                                  # neither has begun yet
    assert [y.numpy().tolist() for _, y in one] != [y.numpy().tolist() for _, y in two]


def test_without_a_seed_manual_seed_fixes_the_shuffling():
    state = minivision.random.get_state()
    try:
        minivision.random.manual_seed(3)
        first = DataLoader(numbered(20), 20, True)
        other = DataLoader(numbered(20), 20, True)
        minivision.random.manual_seed(3)
        again = DataLoader(numbered(20), 20, True)
        assert first.seed == again.seed != other.seed
        before = minivision.random.get_state()
        DataLoader(numbered(20), 20)                        # does not shuffle, so it must not draw
        DataLoader(numbered(20), 20, True, seed=1)
        assert minivision.random.get_state() == before
    finally:
        minivision.random.set_state(state)


def test_drop_last_of_a_set_smaller_than_a_batch():
    loader = DataLoader(numbered(3), 4, drop_last=True)
    assert len(loader) == 0 and list(loader) == []


@pytest.mark.parametrize(("arguments", "says"), [
    ({"batch_size": 0}, "batch_size is 0, expected a whole number, at least 1"),
    ({"batch_size": -3}, "batch_size is -3"),
    ({"batch_size": 2.0}, "batch_size is 2.0"),
    ({"batch_size": True}, "batch_size is True"),
    ({"batch_size": None}, "batch_size is None"),
    ({"seed": -1}, "seed is -1, expected a whole number, at least 0"),
    ({"seed": "7"}, "seed is '7'"),
    ({"dataset": numbered(0)}, "the data set is empty"),
    ({"dataset": (np.zeros((2, 1)),)}, r"must be \(images, labels\), got 1"),
    ({"dataset": (np.zeros((2, 1)), np.zeros(3))}, "2 images but 3 labels"),
    ({"dataset": 5}, "dataset is a int"),
])
def test_arguments_out_of_range(arguments, says):
    with pytest.raises(DataError, match=says):
        DataLoader(**{"dataset": numbered(4), "batch_size": 2, **arguments})


def test_whole_numbers_of_any_kind_are_fine():
    loader = DataLoader(numbered(4), np.int32(2), seed=np.uint8(3))
    assert type(loader.batch_size) is int and type(loader.seed) is int


@pytest.mark.parametrize("state", [{}, {"seed": 1}, {"seed": 1, "epoch": -1}, {"seed": 1.5, "epoch": 0},
                                   {"seed": 1, "epoch": 0, "more": 1}])
def test_a_state_that_is_not_one_changes_nothing(state):
    loader = DataLoader(numbered(4), 2, True, seed=9)
    with pytest.raises(DataError, match=r"seed|epoch"):
        loader.load_state_dict(state)
    assert loader.state_dict() == {"seed": 9, "epoch": 0}
    with pytest.raises(DataError, match="epoch is -1"):
        loader.epoch = -1


def test_images_without_a_clear_range_and_labels_without_a_number():
    with pytest.raises(DataError, match="images are int64, expected uint8"):
        list(DataLoader((np.zeros((2, 1), np.int64), np.zeros(2, int)), 2))
    with pytest.raises(DataError, match="labels are <U3"):
        list(DataLoader((np.zeros((2, 1)), np.array(["cat", "dog"])), 2))


def test_items_of_different_shapes_are_named():
    items = [(np.zeros((1, 2, 2)), 0), (np.zeros((1, 2, 3)), 1)]
    with pytest.raises(DataError, match=r"item 1 of the data set has an image of shape \(1, 2, 3\), item 0"):
        list(DataLoader(items, 2))
