"""What a step needs besides its core: products against NumPy's in double precision, at every edge of a tile; copies."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from longlag.kernels.targets.c import cc
from longlag.kernels.targets.c.tiles import tiles

pytestmark = pytest.mark.skipif(cc.compiler() is None, reason="there is no C compiler on this machine")

KINDS: dict[str, type[np.float32 | np.float64]] = {"float": np.float32, "double": np.float64}
LONG, POINTER = ctypes.c_long, ctypes.c_void_p
MULTIPLY = ctypes.CFUNCTYPE(None, LONG, LONG, LONG, POINTER, LONG, POINTER, POINTER, LONG)
PACK = ctypes.CFUNCTYPE(None, LONG, LONG, POINTER, LONG, LONG, POINTER)
OUTER = ctypes.CFUNCTYPE(None, LONG, LONG, LONG, POINTER, LONG, POINTER, LONG, POINTER, LONG)
STREAM = ctypes.CFUNCTYPE(None, POINTER, POINTER, LONG)


def aligned(count, kind):
    """Memory that begins at a multiple of 64 bytes, as the packed weights do, filled with what must be overwritten."""
    size = np.dtype(kind).itemsize
    whole = np.full(count + 64 // size, np.nan, kind)
    return whole[-whole.ctypes.data % 64 // size :][:count]


def multiply(real, A, M, C, n):
    """C[:, :n] += A M, M being packed from a transposed copy as well as from itself."""
    found, kind = tiles(real), KINDS[real]
    k = M.shape[0]
    packed = aligned(-(-n // found.panel) * found.panel * k, kind)
    other = packed.copy()
    PACK(found.pack)(n, k, M.ctypes.data, n, 1, packed.ctypes.data)
    across = np.ascontiguousarray(M.T)
    PACK(found.pack)(n, k, across.ctypes.data, 1, k, other.ctypes.data)
    assert np.array_equal(packed, other, equal_nan=True)
    MULTIPLY(found.multiply)(len(A), n, k, A.ctypes.data, A.shape[1], packed.ctypes.data, C.ctypes.data, C.shape[1])


def numbers(*shape, kind):
    return np.random.default_rng(shape).standard_normal(shape).astype(kind)


@pytest.mark.parametrize("real", KINDS)
@pytest.mark.parametrize("rows", [*range(1, 15), 25])
@pytest.mark.parametrize("n", [1, 15, 33, 64])
def test_equals_the_product_and_touches_nothing_else(real, rows, n):
    kind, k = KINDS[real], 19
    A, M = numbers(rows, k + 2, kind=kind), numbers(k, n, kind=kind)
    C = numbers(rows, n + 3, kind=kind)
    wanted = C.astype(np.float64)
    wanted[:, :n] += A[:, :k].astype(np.float64) @ M
    multiply(real, A, M, C, n)
    np.testing.assert_allclose(C, wanted, rtol=0, atol=50 * float(np.finfo(kind).eps))
    assert np.array_equal(C[:, n:], wanted[:, n:])


@pytest.mark.parametrize("real", KINDS)
@pytest.mark.parametrize("rows", [1, 13, 160, 161, 333])
@pytest.mark.parametrize(("n", "k"), [(1, 1), (12, 15), (13, 64), (25, 33)])
def test_outer_products_are_summed_over_the_rows(real, rows, n, k):
    kind = KINDS[real]
    A, S = numbers(rows, n + 2, kind=kind), numbers(rows, k + 1, kind=kind)
    G = numbers(n, k + 3, kind=kind)
    wanted = G.astype(np.float64)
    wanted[:, :k] += A[:, :n].astype(np.float64).T @ S[:, :k]
    places = (A.ctypes.data, n + 2, S.ctypes.data, k + 1, G.ctypes.data, k + 3)
    OUTER(tiles(real).outer)(rows, n, k, *places)
    np.testing.assert_allclose(G, wanted, rtol=0, atol=4 * rows * np.finfo(kind).eps)
    assert np.array_equal(G[:, k:], wanted[:, k:])


@pytest.mark.parametrize("real", KINDS)
def test_a_row_does_not_depend_on_the_others(real):
    kind = KINDS[real]
    A, M = numbers(23, 40, kind=kind), numbers(40, 50, kind=kind)
    whole = np.zeros((23, 50), kind)
    multiply(real, A, M, whole, 50)
    for row in range(23):
        alone = np.zeros((1, 50), kind)
        multiply(real, A[row : row + 1], M, alone, 50)
        assert np.array_equal(alone[0], whole[row])


@pytest.mark.parametrize("real", KINDS)
@pytest.mark.parametrize(("shift", "count"), [(0, 64), (0, 37), (1, 64), (3, 1)])
def test_streaming_copies_whole_lines_and_others(real, shift, count):
    kind = KINDS[real]
    source, whole = numbers(count, kind=kind), aligned(80, kind)
    STREAM(tiles(real).stream)(whole[shift:].ctypes.data, source.ctypes.data, count)
    assert np.array_equal(whole[shift : shift + count], source)
    assert np.isnan(whole[:shift]).all() and np.isnan(whole[shift + count :]).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_come_through_sums_of_outer_products(value):
    A, S, G = np.ones((200, 5), np.float32), np.ones((200, 40), np.float32), np.zeros((5, 40), np.float32)
    A[7, 3] = value
    OUTER(tiles("float").outer)(200, 5, 40, A.ctypes.data, 5, S.ctypes.data, 40, G.ctypes.data, 40)
    assert np.array_equal(G[3], np.full(40, value, np.float32), equal_nan=True)
    assert (np.delete(G, 3, 0) == 200).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_come_through_in_their_row_alone(value):
    A, M = np.ones((13, 8), np.float32), np.ones((8, 40), np.float32)
    A[4, 3] = value
    C = np.zeros((13, 40), np.float32)
    multiply("float", A, M, C, 40)
    assert np.array_equal(C[4], np.full(40, value, np.float32), equal_nan=True)
    assert (np.delete(C, 4, 0) == 8).all()
    M[0, 0] = 0  # in a weight: infinity times zero is NaN
    A[4, 3], A[4, 0] = 1, np.inf
    multiply("float", A, M, C, 40)
    assert np.isnan(C[4, 0]) and (np.delete(C, 4, 0)[:, 1:] == 16).all()
