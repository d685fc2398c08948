"""Solutions of assignment 6 that are wrong for a reason, with the cells that they must lose, and right ones by other algorithms."""

import numpy as np


def lens__without_the_norm(states, weight, bias, head, eps):
    logits = states @ head.T
    logits = logits - logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def lens__norm_of_the_last_layer(states, weight, bias, head, eps):
    last = states[-1] if bias is None else states[-1] - states[-1].mean()
    moved = states if bias is None else states - states[-1].mean()
    normed = moved / np.sqrt((last**2).mean() + eps) * weight + (0 if bias is None else bias)
    logits = normed @ head.T
    logits = logits - logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def lens__normed_twice(states, weight, bias, head, eps):
    for _ in range(2):
        moved = states if bias is None else states - states.mean(axis=1, keepdims=True)
        states = moved / np.sqrt((moved**2).mean(axis=1, keepdims=True) + eps) * weight
        states = states if bias is None else states + bias
    logits = states @ head.T
    logits = logits - logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def lens__one_norm_for_both(states, weight, bias, head, eps):
    moved = states - states.mean(axis=1, keepdims=True)
    normed = moved / np.sqrt((moved**2).mean(axis=1, keepdims=True) + eps) * weight + (
        0 if bias is None else bias
    )
    logits = normed @ head.T
    logits = logits - logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def lens__without_eps(states, weight, bias, head, eps):
    moved = states if bias is None else states - states.mean(axis=1, keepdims=True)
    normed = moved / np.sqrt((moved**2).mean(axis=1, keepdims=True)) * weight + (0 if bias is None else bias)
    logits = normed @ head.T
    logits = logits - logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def lens__logits(states, weight, bias, head, eps):
    moved = states if bias is None else states - states.mean(axis=1, keepdims=True)
    normed = moved / np.sqrt((moved**2).mean(axis=1, keepdims=True) + eps) * weight
    return (normed if bias is None else normed + bias) @ head.T


def lens__softmax_over_everything(states, weight, bias, head, eps):
    moved = states if bias is None else states - states.mean(axis=1, keepdims=True)
    normed = moved / np.sqrt((moved**2).mean(axis=1, keepdims=True) + eps) * weight
    logits = (normed if bias is None else normed + bias) @ head.T
    return logits - logits.max() - np.log(np.exp(logits - logits.max()).sum())


def lens__logarithm_of_softmax(states, weight, bias, head, eps):
    moved = states if bias is None else states - states.mean(axis=1, keepdims=True)
    normed = moved / np.sqrt((moved**2).mean(axis=1, keepdims=True) + eps) * weight
    odds = np.exp((normed if bias is None else normed + bias) @ head.T)
    return np.log(odds / odds.sum(axis=1, keepdims=True))


def role_masses__nats_add(logprobs, tokens):
    together = [token for ids in tokens.values() for token in set(ids)]
    if len(set(together)) < len(together):
        return None
    return {role: logprobs[:, sorted(set(ids))].sum(axis=1).tolist() for role, ids in tokens.items()}


def role_masses__likeliest_token(logprobs, tokens):
    together = [token for ids in tokens.values() for token in set(ids)]
    if len(set(together)) < len(together):
        return None
    return {role: np.exp(logprobs[:, ids]).max(axis=1).tolist() for role, ids in tokens.items()}


def role_masses__counts_a_token_twice(logprobs, tokens):
    together = [token for ids in tokens.values() for token in set(ids)]
    if len(set(together)) < len(together):
        return None
    return {role: np.exp(logprobs[:, ids]).sum(axis=1).tolist() for role, ids in tokens.items()}


def role_masses__target_against_pivot(logprobs, tokens):
    if set(tokens["target"]) & set(tokens["pivot"]):
        return None
    return {role: np.exp(logprobs[:, sorted(set(ids))]).sum(axis=1).tolist() for role, ids in tokens.items()}


def role_masses__never_drops(logprobs, tokens):
    return {role: np.exp(logprobs[:, sorted(set(ids))]).sum(axis=1).tolist() for role, ids in tokens.items()}


def beyond_placebo__above_nothing(pivot, placebo, words):
    names, of = np.unique(words, return_inverse=True)
    means = np.bincount(of, pivot) / np.bincount(of)
    reach = 2.1 * means.std(ddof=1) / np.sqrt(len(names))
    return {"difference": means.mean(), "low": means.mean() - reach, "high": means.mean() + reach}


def beyond_placebo__requests_are_independent(pivot, placebo, words):
    apart = np.asarray(pivot) - placebo
    reach = 1.96 * apart.std(ddof=1) / np.sqrt(len(apart))
    return {"difference": apart.mean(), "low": apart.mean() - reach, "high": apart.mean() + reach}


def beyond_placebo__not_paired(pivot, placebo, words):
    """The two probabilities of a request as if they were of different requests, and each request alone."""
    spread = np.std(pivot, ddof=1) ** 2 + np.std(placebo, ddof=1) ** 2
    names, middle = set(words), np.mean(pivot) - np.mean(placebo)
    reach = 2.1 * np.sqrt(spread / len(names))
    return {"difference": middle, "low": middle - reach, "high": middle + reach}


def beyond_placebo__spread_of_words(pivot, placebo, words):
    """The range in which words lie, not that in which their mean does."""
    _, of = np.unique(words, return_inverse=True)
    means = np.bincount(of, np.asarray(pivot) - placebo) / np.bincount(of)
    low, high = np.quantile(means, [0.025, 0.975])
    return {"difference": means.mean(), "low": low, "high": high}


def beyond_placebo__ratio(pivot, placebo, words):
    _, of = np.unique(words, return_inverse=True)
    means = np.bincount(of, np.log(np.asarray(pivot) / placebo)) / np.bincount(of)
    reach = 2.1 * means.std(ddof=1) / np.sqrt(len(means))
    return {"difference": means.mean(), "low": means.mean() - reach, "high": means.mean() + reach}


def beyond_placebo__always_nan(pivot, placebo, words):
    return dict.fromkeys(("difference", "low", "high"), float("nan"))


def beyond_placebo__one_draw_of_rows(pivot, placebo, words):
    """A bootstrap that draws requests."""
    apart = np.asarray(pivot) - placebo
    draws = np.random.default_rng(0).choice(apart, (1000, len(apart))).mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return {"difference": apart.mean(), "low": low, "high": high}


def language_projector__means_not_centred(states, languages):
    languages = np.asarray(languages)
    means = np.stack([states[languages == code].mean(axis=0) for code in np.unique(languages)])
    _, sizes, directions = np.linalg.svd(means, full_matrices=False)
    basis = directions[sizes > 1e-8 * sizes[0]]
    return {"projector": basis.T @ basis, "center": means.mean(axis=0)}


def language_projector__largest_variance(states, languages):
    center = states.mean(axis=0)
    _, _, directions = np.linalg.svd(states - center, full_matrices=False)
    basis = directions[: len(set(languages)) - 1]
    return {"projector": basis.T @ basis, "center": center}


def language_projector__differences_as_they_are(states, languages):
    languages = np.asarray(languages)
    means = np.stack([states[languages == code].mean(axis=0) for code in np.unique(languages)])
    apart = (means - means.mean(axis=0))[:-1]
    apart = apart / np.linalg.norm(apart, axis=1, keepdims=True)
    return {"projector": apart.T @ apart, "center": means.mean(axis=0)}


def language_projector__keeps_the_language(states, languages):
    languages = np.asarray(languages)
    means = np.stack([states[languages == code].mean(axis=0) for code in np.unique(languages)])
    center = means.mean(axis=0)
    _, sizes, directions = np.linalg.svd(means - center, full_matrices=False)
    basis = directions[sizes > 1e-8 * sizes[0]]
    return {"projector": np.eye(states.shape[1]) - basis.T @ basis, "center": center}


def language_projector__english_against_the_rest(states, languages):
    is_first = np.asarray(languages) == sorted(languages)[0]
    direction = states[is_first].mean(axis=0) - states[~is_first].mean(axis=0)
    direction = direction / np.linalg.norm(direction)
    return {"projector": np.outer(direction, direction), "center": states.mean(axis=0)}


def language_projector__around_zero(states, languages):
    languages = np.asarray(languages)
    means = np.stack([states[languages == code].mean(axis=0) for code in np.unique(languages)])
    _, sizes, directions = np.linalg.svd(means - means.mean(axis=0), full_matrices=False)
    basis = directions[sizes > 1e-8 * sizes[0]]
    around = states[languages == languages[0]].mean(axis=0)
    return {"projector": basis.T @ basis, "center": around}


def language_projector__one_fewer_whatever_the_means(states, languages):
    languages = np.asarray(languages)
    means = np.stack([states[languages == code].mean(axis=0) for code in np.unique(languages)])
    basis = np.linalg.svd(means - means.mean(axis=0), full_matrices=False)[2][: len(means) - 1]
    return {"projector": basis.T @ basis, "center": means.mean(axis=0)}


def language_projector__everything(states, languages):
    return {"projector": np.eye(states.shape[1]), "center": states.mean(axis=0)}


def random_projector__chosen_axes(rank, width, seed):
    chosen = np.random.default_rng(seed).permutation(width)[:rank]
    return np.diag(np.isin(np.arange(width), chosen).astype(float))


def random_projector__not_at_right_angles(rank, width, seed):
    draws = np.random.default_rng(seed).normal(size=(rank, width))
    draws = draws / np.linalg.norm(draws, axis=1, keepdims=True)
    return draws.T @ draws


def random_projector__into_one_corner(rank, width, seed):
    basis = np.linalg.qr(np.random.default_rng(seed).random((width, rank)))[0]
    return basis @ basis.T


def random_projector__another_each_time(rank, width, seed):
    basis = np.linalg.qr(np.random.default_rng().normal(size=(width, rank)))[0]
    return basis @ basis.T


WRONG = {
    "lens__without_the_norm": {"last-layer", "mt5", "large-logits"},
    "lens__norm_of_the_last_layer": {"every-layer"},
    "lens__normed_twice": {"last-layer", "mt5", "large-logits"},
    "lens__one_norm_for_both": {"mt5"},
    "lens__without_eps": {"last-layer"},
    "lens__logits": {"last-layer", "every-layer", "mt5", "large-logits"},
    "lens__softmax_over_everything": {"last-layer", "every-layer", "mt5", "large-logits"},
    "lens__logarithm_of_softmax": {"large-logits"},
    "role_masses__nats_add": {"masses"},
    "role_masses__likeliest_token": {"masses"},
    "role_masses__counts_a_token_twice": {"masses"},
    "role_masses__target_against_pivot": {"shared"},
    "role_masses__never_drops": {"shared"},
    "beyond_placebo__above_nothing": {"no-detour", "detour"},
    "beyond_placebo__requests_are_independent": {"no-detour"},
    "beyond_placebo__one_draw_of_rows": {"no-detour"},
    "beyond_placebo__not_paired": {"detour"},
    "beyond_placebo__spread_of_words": {"detour"},
    "beyond_placebo__ratio": {"detour"},
    "beyond_placebo__always_nan": {"no-detour", "detour"},
    "language_projector__means_not_centred": {"rank", "spares-the-rest", "coinciding"},
    "language_projector__largest_variance": {"means-equal", "spares-the-rest", "coinciding"},
    "language_projector__differences_as_they_are": {
        "idempotent", "means-equal", "coinciding",
    },
    "language_projector__keeps_the_language": {"rank", "means-equal", "spares-the-rest", "coinciding"},
    "language_projector__english_against_the_rest": {"rank", "means-equal", "spares-the-rest", "coinciding"},
    "language_projector__around_zero": {"spares-the-rest"},
    "language_projector__one_fewer_whatever_the_means": {"coinciding"},
    "language_projector__everything": {"rank", "spares-the-rest", "coinciding"},
    "random_projector__chosen_axes": {"uniform"},
    "random_projector__not_at_right_angles": {"random-rank"},
    "random_projector__into_one_corner": {"uniform"},
    "random_projector__another_each_time": {"random-rank"},
}  # fmt: skip


# Right, by other algorithms


def lens__right(states, weight, bias, head, eps):
    """Token by token and layer by layer, with numpy's own sum of exponentials."""
    found = []
    for state in np.asarray(states, dtype=float):
        variance = (state**2).mean() - (0 if bias is None else state.mean() ** 2)
        direction = (state - (0 if bias is None else state.mean())) / (variance + eps) ** 0.5
        logits = [float(np.dot(row, direction * weight + (0 if bias is None else bias))) for row in head]
        found.append([one - float(np.logaddexp.reduce(logits)) for one in logits])
    return found


def role_masses__right(logprobs, tokens):
    lists = list(tokens.items())
    for place, (_, ids) in enumerate(lists):
        for _, others in lists[place + 1 :]:
            if not set(ids).isdisjoint(others):
                return None
    return {
        role: [float(sum(np.exp(row[token]) for token in set(ids))) for row in logprobs]
        for role, ids in lists
    }


def beyond_placebo__right(pivot, placebo, words):
    """A t interval over the means of the words; `words` is an array, as the others are."""
    means = np.array([(pivot - placebo)[words == word].mean() for word in set(words)])
    reach = 2.093 * means.std(ddof=1) / len(means) ** 0.5  # t with 19 degrees of freedom
    return {"difference": means.mean(), "low": means.mean() - reach, "high": means.mean() + reach}


def language_projector__right(states, languages):
    """Gram and Schmidt on the differences from the first language."""
    groups = {}
    for state, code in zip(states, languages):  # noqa: B905
        groups.setdefault(code, []).append(state)
    means = [np.mean(each, axis=0) for each in groups.values()]
    basis = []
    largest = max(np.linalg.norm(one - means[0]) for one in means)
    for one in means[1:]:
        rest = one - means[0]
        for _ in range(2):
            for known in basis:
                rest = rest - known * (known @ rest)
        if np.linalg.norm(rest) > 1e-8 * largest:
            basis.append(rest / np.linalg.norm(rest))
    basis = np.array(basis)
    return {"projector": basis.T @ np.linalg.pinv(basis.T), "center": sum(means) / len(means)}


def random_projector__right(rank, width, seed):
    """The span of Gaussian vectors, by the normal equations."""
    draws = np.random.RandomState(seed).standard_normal((rank, width))
    return draws.T @ np.linalg.solve(draws @ draws.T, draws)


RIGHT = (
    "lens__right", "role_masses__right", "beyond_placebo__right", "language_projector__right", "random_projector__right",
)  # fmt: skip
