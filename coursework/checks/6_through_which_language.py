"""Checks of assignment 6, "Through which language?": fresh states, heads and languages whose subspace was planted.

The thresholds leave a correct solution a chance below 1 in 1,000 to fail by an unlucky draw.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from workbench.grading import Choice, check

SAMPLES = 40
TOO_MANY = (
    10  # intervals of 40 that miss: of a percentile bootstrap over 20 words 2.8 do, of one over requests 23
)
NEAR = 1e-6


def expected_lens(asked: tuple[Any, ...]) -> np.ndarray:
    """The log-probabilities by layer, each layer normalised and read by itself."""
    states, weight, bias, head, eps = asked
    rows = []
    for state in states:
        moved = state if bias is None else state - state.sum() / len(state)
        normed = weight * moved / np.sqrt(moved @ moved / len(moved) + eps) + (0 if bias is None else bias)
        logits = head @ normed
        rows.append(logits - np.logaddexp.reduce(logits))
    return np.array(rows)


def model(
    draw: np.random.Generator, *, biased: bool = True, loud: float = 1.0, eps: float | None = None
) -> tuple[Any, ...]:
    """States of some layers, and the parts of a final norm and a head.

    eps: by default so large that it counts; 0 where forgetting it is to cost nothing.
    """
    layers, width, vocabulary = int(draw.integers(3, 6)), 10, 23
    scales = draw.uniform(0.05, 4.0, (layers, 1))
    states = scales * (draw.normal(size=(layers, width)) + draw.normal(1.0, 0.5, (layers, 1)))
    bias = draw.normal(size=width) if biased else None
    weight, eps = draw.uniform(0.3, 2.0, width), float(draw.uniform(0.05, 0.2)) if eps is None else eps
    return states, weight, bias, loud * draw.normal(size=(vocabulary, width)), eps


@check(
    "last-layer",
    "lens",
    "Read the last layer and compare with the model's own prediction: go through the formula of the norm term by term, and then the step from logits to log-probabilities.",
)
def last_layer(draw: np.random.Generator) -> Iterator[Any]:
    """The last row is the log-softmax of the model's logits."""
    asked = [model(draw) for _ in range(6)]
    found = yield asked
    pairs = zip(found, asked, strict=True)
    return all(np.allclose(one[-1], expected_lens(each)[-1], atol=NEAR) for one, each in pairs)


@check(
    "every-layer",
    "lens",
    "A layer's reading may depend on its own state only, and is a distribution by itself.",
)
def every_layer(draw: np.random.Generator) -> Iterator[Any]:
    """Each row is what the layer's state alone would give, and sums to 1 as probabilities."""
    whole = [model(draw) for _ in range(4)]
    alone = [(states[place : place + 1], *rest) for states, *rest in whole for place in (0, 1)]
    found = yield [*whole, *alone]
    apart = iter(found[len(whole) :])
    for one in found[: len(whole)]:
        table = np.asarray(one, dtype=float)
        if not np.allclose(np.exp(table).sum(axis=1), 1, atol=NEAR):
            return False
        if not all(np.allclose(table[place], np.asarray(next(apart))[0], atol=NEAR) for place in (0, 1)):
            return False
    return True


@check("mt5", "lens", "Without a bias the norm is mT5's: compare the two rows of the table.")
def mt5(draw: np.random.Generator) -> Iterator[Any]:
    """Nothing is subtracted from the states."""
    asked = [model(draw, biased=False, eps=0.0) for _ in range(4)]
    found = yield asked
    pairs = zip(found, asked, strict=True)
    return all(np.allclose(one[-1], expected_lens(each)[-1], atol=NEAR) for one, each in pairs)


@check("large-logits", "lens", "With logits of some hundreds the result must still be a finite number: which step leaves the range of floating point?")  # fmt: skip
def large_logits(draw: np.random.Generator) -> Iterator[Any]:
    """Differences within a row are those of the logits, where exp overflows and where it underflows."""
    asked = [model(draw, loud=400.0, eps=0.0) for _ in range(3)]
    found = yield asked
    for one, (states, weight, bias, head, eps) in zip(found, asked, strict=True):
        table = np.asarray(one, dtype=float)
        quiet = expected_lens((states, weight, bias, head, eps))
        if not np.isfinite(table).all() or not np.allclose(table[-1], quiet[-1], rtol=1e-9, atol=NEAR):
            return False
    return True


def distributions(draw: np.random.Generator) -> np.ndarray:
    """Log-probabilities of 12 tokens by 4 layers."""
    return np.log(draw.dirichlet(np.full(12, 0.5), 4) + 1e-12)


@check(
    "masses",
    "role_masses",
    "The role's probability is that of any of its tokens coming next; each token can come only once.",
)
def masses(draw: np.random.Generator) -> Iterator[Any]:
    """The sum of the probabilities of the distinct tokens, by layer."""
    asked = []
    for _ in range(5):
        order = [int(each) for each in draw.permutation(12)]
        asked.append(
            (distributions(draw), {"target": order[:2], "pivot": [order[2]] * 2, "placebo": order[3:6]})
        )
    found = yield asked
    return all(
        np.allclose(one[role], np.exp(logprobs)[:, [*{*ids}]].sum(axis=1), atol=NEAR)
        for one, (logprobs, tokens) in zip(found, asked, strict=True)
        for role, ids in tokens.items()
    )


@check(
    "shared",
    "role_masses",
    "Which pairs of roles did you compare? Any two that share a token make the request useless, and only those do.",
)
def shared(draw: np.random.Generator) -> Iterator[Any]:
    """None where any two roles share any token; a table where none do."""
    asked, useless = [], []
    roles = ("target", "pivot", "source", "placebo")
    for one, other in ((0, 1), (1, 3), (2, 3), (0, 2)):
        order = [int(each) for each in draw.permutation(12)]
        tokens = {role: order[2 * place : 2 * place + 2] for place, role in enumerate(roles)}
        asked.append((distributions(draw), tokens))
        useless.append(False)
        asked.append(
            (distributions(draw), tokens | {roles[other]: [tokens[roles[other]][0], tokens[roles[one]][1]]})
        )
        useless.append(True)
    found = yield asked
    return [one is None for one in found] == useless


def requests(draw: np.random.Generator, detour: float, *, words: int = 20, each: int = 12) -> tuple[Any, ...]:
    """Probabilities of pivot and placebo, likelier or not by word, and both by request; and the words, in no order."""
    of = np.repeat(np.arange(words), each)
    order = draw.permutation(len(of))
    common = draw.uniform(0.0, 0.6, len(of))
    apart = draw.normal(0.0, 0.06, words)
    apart = apart[of] + draw.normal(0.0, 0.01, len(of)) + detour
    pivot, placebo = common + 0.2 + apart / 2, common + 0.2 - apart / 2
    return pivot[order], placebo[order], np.array([f"word {place}" for place in of[order]])


def ends(found: list[Any]) -> np.ndarray:
    """Differences and the ends of their intervals, shape (N, 3)."""
    return np.array([[float(one[name]) for name in ("difference", "low", "high")] for one in found])


@check(
    "no-detour",
    "beyond_placebo",
    "Where the pivot is only as frequent as the placebo, too many of your intervals exclude 0: what is compared with what, and how many facts are the requests about one word?",
)
def no_detour(draw: np.random.Generator) -> Iterator[Any]:
    """The interval contains 0 in about 95 % of samples without a detour, in which requests about a word hang together."""
    found = yield [requests(draw, 0.0) for _ in range(SAMPLES)]
    _, low, high = ends(found).T
    return bool(np.isfinite([low, high]).all()) and int(np.sum((low > 0) | (high < 0))) <= TOO_MANY


@check(
    "detour",
    "beyond_placebo",
    "A detour of 15 points must be found and measured: is the difference the mean over requests, and does your interval use that both probabilities belong to the same request?",
)
def detour(draw: np.random.Generator) -> Iterator[Any]:
    """The mean difference is exact, in the interval, and certain."""
    asked = [requests(draw, 0.15) for _ in range(12)]
    found = yield asked
    difference, low, high = ends(found).T
    exact = np.allclose(difference, [np.mean(pivot - placebo) for pivot, placebo, _ in asked], atol=NEAR)
    return bool(
        exact
        and (low < difference).all()
        and (difference < high).all()
        and (low > 0.05).all()
        and (high < 0.25).all()
    )


def speakers(
    draw: np.random.Generator, languages: int, rank: int | None = None
) -> tuple[np.ndarray, list[str], np.ndarray]:
    """States of unequally many tokens per language around means that span `rank` dimensions (by default one fewer than languages).

    What differs most is not the language: one other direction varies far more, and all means lie far from 0.
    """
    width, rank = 14, languages - 1 if rank is None else rank
    frame = np.linalg.qr(draw.normal(size=(width, width)))[0]
    places = draw.normal(size=(languages, rank)) * 2.0
    places -= places.mean(axis=0)
    if rank == 1 and languages > 2:
        places[1] = places[0]
    counts = draw.permutation(np.arange(30, 30 + 9 * languages, 9))
    of = np.repeat(np.arange(languages), counts)
    scatter = draw.normal(size=(len(of), width)) * np.where(np.arange(width) == width - 1, 15.0, 1.0)
    for place in range(languages):
        scatter[of == place] -= scatter[of == place].mean(axis=0)
    scatter[:, :rank] += places[of]
    states = scatter @ frame.T + 20.0 * frame[:, rank]
    order = draw.permutation(len(of))
    return states[order], [f"x-{'abcdef'[place]}" for place in of[order]], frame[:, :rank].T


def read(found: Any) -> tuple[np.ndarray, np.ndarray]:
    """The projector and the center that were returned."""
    return np.asarray(found["projector"], dtype=float), np.asarray(found["center"], dtype=float)


def means(states: np.ndarray, languages: list[str]) -> np.ndarray:
    """The mean state of each language, shape (K, D)."""
    return np.stack([states[np.array(languages) == code].mean(axis=0) for code in sorted({*languages})])


@check(
    "idempotent",
    "language_projector",
    "Erase twice: the second time must change nothing. Are the directions that you use of length 1, and at right angles?",
)
def idempotent(draw: np.random.Generator) -> Iterator[Any]:
    """PP = P."""
    found = yield [speakers(draw, languages)[:2] for languages in (2, 3, 4, 5)]
    return all(np.allclose(matrix @ matrix, matrix, atol=NEAR) for matrix, _ in map(read, found))


@check(
    "rank",
    "language_projector",
    "Count dimensions: by how many can the means of K languages differ, and what do they all have in common?",
)
def rank(draw: np.random.Generator) -> Iterator[Any]:
    """One fewer than languages."""
    found = yield [speakers(draw, languages)[:2] for languages in (2, 3, 4, 5)]
    ranks = [int(np.linalg.matrix_rank(matrix, tol=NEAR)) for matrix, _ in map(read, found)]
    return ranks == [1, 2, 3, 4]


@check(
    "means-equal",
    "language_projector",
    "After erasing, the languages' means still differ: what spans the subspace that you remove, and is it removed rather than kept?",
)
def means_equal(draw: np.random.Generator) -> Iterator[Any]:
    """All languages have the same mean afterwards."""
    asked = [speakers(draw, languages)[:2] for languages in (2, 3, 4, 5)]
    found = yield asked
    for one, (states, languages) in zip(found, asked, strict=True):
        matrix, center = read(one)
        after = means(states - (states - center) @ matrix, languages)
        if np.ptp(after, axis=0).max() > NEAR:
            return False
    return True


@check(
    "spares-the-rest",
    "language_projector",
    "Something is erased in which the means do not differ, or all states are moved to another place: which directions, and which point, does the text name?",
)
def spares_the_rest(draw: np.random.Generator) -> Iterator[Any]:
    """P is symmetric and removes nothing beyond the planted subspace, and the mean of the means stays."""
    asked = [speakers(draw, languages) for languages in (2, 3, 4, 5)]
    found = yield [each[:2] for each in asked]
    for one, (states, languages, planted) in zip(found, asked, strict=True):
        matrix, center = read(one)
        outside = np.eye(len(matrix)) - planted.T @ planted
        middle = means(states, languages).mean(axis=0)
        moved = (middle - center) @ matrix
        if (
            np.abs(outside @ matrix).max() > NEAR
            or np.abs(matrix @ outside).max() > NEAR
            or np.abs(moved).max() > NEAR
        ):
            return False
    return True


@check(
    "coinciding",
    "language_projector",
    "Two of five languages may have the same mean, or all means lie on a line: how many dimensions do the means span then?",
)
def coinciding(draw: np.random.Generator) -> Iterator[Any]:
    """The rank is that of the means, where there are more languages than dimensions in which they differ."""
    ranks = [1, 2, 3]
    asked = [speakers(draw, 5, each) for each in ranks]
    found = yield [each[:2] for each in asked]
    matrices = [read(one)[0] for one in found]
    return all(
        np.allclose(matrix, planted.T @ planted, atol=NEAR)
        for matrix, (_, _, planted) in zip(matrices, asked, strict=True)
    )


@check(
    "random-rank",
    "random_projector",
    "Is it a projection of that rank, the same for the same seed, and another for another one?",
)
def random_rank(draw: np.random.Generator) -> Iterator[Any]:
    """Idempotent, symmetric, of the rank; repeatable."""
    seed, cases = int(draw.integers(1000)), [(1, 6), (3, 9), (5, 8)]
    found = yield [(*case, seed + more) for case in cases for more in (0, 0, 1)]
    matrices = [np.asarray(one, dtype=float) for one in found]
    for place, (size, _) in enumerate(cases):
        one, same, other = matrices[3 * place : 3 * place + 3]
        right = np.allclose(one @ one, one, atol=NEAR) and np.allclose(one, one.T, atol=NEAR)
        if (
            not right
            or not np.isclose(np.trace(one), size)
            or not np.allclose(one, same)
            or np.allclose(one, other)
        ):
            return False
    return True


@check(
    "uniform",
    "random_projector",
    "Draw many subspaces: some direction is in them more often than others. Is every direction as likely as any other in your draw?",
)
def uniform(draw: np.random.Generator) -> Iterator[Any]:
    """No direction is favoured: neither the diagonal of the space, nor its axes."""
    start, size, width, many = int(draw.integers(1000)), 3, 12, 100
    found = yield [(size, width, start + seed) for seed in range(many)]
    matrices = np.array(found, dtype=float)
    corner = matrices.mean(axis=0).sum() / width  # 1/4, with a standard error of .016
    axes = (
        np.diagonal(matrices, axis1=1, axis2=2) ** 2
    ).mean()  # r (r + 2) / (D (D + 2)) = .089; of chosen axes 1/4
    return bool(abs(corner - size / width) < 0.1 and axes < 0.13)


detours = Choice(
    "detours", "detours", ("all three", "x-es and x-sw", "x-sw"), "x-sw",
    "Read the table again, row by row: the difference, its lower end, and which of the two models a row is about.",
)  # fmt: skip
lost = Choice(
    "lost", "lost", ("the language", "the word", "both"), "the language",
    "Compare the last two columns of your eraser's row with what they were before anything was erased.",
)  # fmt: skip
