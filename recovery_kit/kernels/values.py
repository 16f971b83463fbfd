"""Amounts and times out of the text of a field; what is not plain is left to the exact reader."""

from __future__ import annotations

import numpy as np

from recovery_kit.kernels._memory import byte, part, word
from recovery_kit.kernels.message import digits

_DAY = 86_400_000
_EARLIEST, LATEST = -62_135_596_800_000, 253_402_300_799_999  # the years 1 to 9999, as ms
_MINUS, _PLUS, _DOT, _COLON = 45, 43, 46, 58

_ONES = np.uint64(0x0101010101010101)
_SIXES, _THREES = _ONES * np.uint64(6), _ONES * np.uint64(0x33)
_LOW_HALVES, _HIGH_HALVES = _ONES * np.uint64(15), _ONES * np.uint64(0xF0)


@part
def _eight(p):
    """The number that eight digits spell, or -1 where they are not (D.

    Lemire, "Quickly parsing eight digits", 2018).
    """
    w = word(p)
    if w & _HIGH_HALVES | (w + _SIXES & _HIGH_HALVES) >> np.uint64(4) != _THREES:
        return np.int64(-1)
    w = (w & _LOW_HALVES) * np.uint64(2561) >> np.uint64(8)
    w = (w & np.uint64(0x00FF00FF00FF00FF)) * np.uint64(6553601) >> np.uint64(16)
    return np.int64(
        (w & np.uint64(0x0000FFFF0000FFFF)) * np.uint64(42949672960001) >> np.uint64(32)
    )


@part
def _run(p, end, number):
    """Append the digits from p on to a number: (the number, the address behind them).

    Not for more than 18 digits.
    """
    while p + 8 <= end:
        eight = _eight(p)
        if eight < 0:
            break
        number = number * 100_000_000 + eight
        p += 8
    while p < end:
        c = byte(p)
        if c < 48 or c > 57:
            break
        number = number * 10 + (c - 48)
        p += 1
    return number, p


@part
def amount_of(p, length, decimals):
    """Plain digits, at most 18 with the schema's decimals, as a whole number of 10**-decimals:
    (amount, is plain).
    """
    end = p + length
    negative = False
    amount = np.int64(0)
    if length > 0 and (byte(p) == _MINUS or byte(p) == _PLUS):
        negative = byte(p) == _MINUS
        p += 1
    if p >= end or end - p > 19:
        return amount, False
    first = p
    amount, p = _run(p, end, amount)
    if p == first or p - first > 18:
        return amount, False
    digits, places = p - first, np.int64(0)
    if p < end:
        if byte(p) != _DOT:
            return amount, False
        point = p
        while (
            end - point > decimals + 1 and end - point > 2 and byte(end - 1) == 48
        ):  # zeros that trail
            end -= 1
        amount, p = _run(p + 1, end, amount)
        places = p - point - 1
        if p != end or places == 0:
            return amount, False
        if places > decimals:
            # One zero may be all that stands behind the point of a whole number.
            if decimals > 0 or places > 1 or byte(end - 1) != 48:
                return amount, False
            amount //= 10
            places = np.int64(0)
    if digits + decimals > 18:  # of the whole part, and behind the point
        return amount, False
    while places < decimals:
        amount *= 10
        places += 1
    return -amount if negative else amount, True


@part
def _two(p):
    a, b = byte(p), byte(p + 1)
    if 48 <= a <= 57 and 48 <= b <= 57:
        return (a - 48) * 10 + (b - 48)
    return np.int64(-1_000_000)


@part
def iso_time(p, length):
    """YYYY-MM-DDTHH:MM:SS[.fraction](Z|+HH:MM|-HH:MM) as epoch ms, the fraction cut: (time, is
    plain).
    """
    bad = np.int64(0), False
    if length < 20:
        return bad
    end = p + length
    if (
        byte(p + 4) != 45
        or byte(p + 7) != 45
        or byte(p + 10) != 84
        or byte(p + 13) != 58
        or byte(p + 16) != 58
    ):
        return bad
    year = _two(p) * 100 + _two(p + 2)
    month, day = _two(p + 5), _two(p + 8)
    hour, minute, second = _two(p + 11), _two(p + 14), _two(p + 17)
    if (
        year < 1
        or not 1 <= month <= 12
        or day < 1
        or not 0 <= hour < 24
        or not 0 <= minute < 60
        or not 0 <= second < 60
    ):
        return bad
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    longest = 30 + (month + month // 8) % 2 if month != 2 else (29 if leap else 28)
    if day > longest:
        return bad
    # Days from civil: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms".
    y = year - (1 if month <= 2 else 0)
    era = y // 400
    of_era = y - era * 400
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    days = era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468
    ms = days * _DAY + hour * 3_600_000 + minute * 60_000 + second * 1_000
    p += 19
    if byte(p) == _DOT:
        q = digits(p + 1, end)
        if q == p + 1:
            return bad
        scale = 100
        for k in range(p + 1, min(q, p + 4)):
            ms += (byte(k) - 48) * scale
            scale //= 10
        p = q
    if p + 1 == end and byte(p) == 90:
        return ms, True
    if p + 6 != end or byte(p + 3) != _COLON or not (byte(p) == _PLUS or byte(p) == _MINUS):
        return bad
    hours, minutes = _two(p + 1), _two(p + 4)
    if not 0 <= hours < 24 or not 0 <= minutes < 60:
        return bad
    shift = hours * 3_600_000 + minutes * 60_000
    ms = ms - shift if byte(p) == _PLUS else ms + shift
    return ms, _EARLIEST <= ms <= LATEST


@part
def epoch_time(p, length, unit):
    """A whole epoch number as ms; ``unit`` as in schema.TIME_UNITS: (time, is plain)."""
    if length > 17:
        return np.int64(0), False
    number, plain = amount_of(p, length, 0)
    if unit > 0 and not _EARLIEST <= number <= LATEST:  # so that the product fits in 64 bits
        return number, False
    ms = number * unit if unit > 0 else number // -unit
    return ms, plain and _EARLIEST <= ms <= LATEST
