"""Solutions of the coursework that are wrong for a reason, with the cells that they must lose, and right ones by other algorithms.

The name of each is `function__misconception`. They use what the notebooks provide: numpy as np, math, and the other functions.
"""

import itertools
import math

import numpy as np

# 1 What is a score?


def choice_logprobs__row_of_the_token_itself(logits, ids, n_prompt):
    rows = logits[n_prompt:]
    rows = rows - rows.max(axis=1, keepdims=True)
    return (rows - np.log(np.exp(rows).sum(axis=1, keepdims=True)))[np.arange(len(rows)), ids[n_prompt:]]


def choice_logprobs__logits_are_scores(logits, ids, n_prompt):
    return logits[np.arange(n_prompt - 1, len(ids) - 1), ids[n_prompt:]]


def choice_logprobs__logarithm_of_softmax(logits, ids, n_prompt):
    odds = np.exp(logits[n_prompt - 1 : -1])
    return np.log(odds / odds.sum(axis=1, keepdims=True))[np.arange(len(odds)), ids[n_prompt:]]


def choice_logprobs__softmax_over_positions(logits, ids, n_prompt):
    rows = logits[n_prompt - 1 : -1]
    rows = rows - rows.max(axis=0)
    return (rows - np.log(np.exp(rows).sum(axis=0)))[np.arange(len(rows)), ids[n_prompt:]]


def choice_logprobs__prompt_too(logits, ids, n_prompt):
    rows = logits[:-1] - logits[:-1].max(axis=1, keepdims=True)
    return (rows - np.log(np.exp(rows).sum(axis=1, keepdims=True)))[np.arange(len(rows)), ids[1:]]


def choice_score__mean(logprobs, is_end, side):
    counted = [each for each, end in zip(logprobs, is_end) if side == "mt5" or not end]  # noqa: B905
    return sum(counted) / len(counted)


def choice_score__first_token(logprobs, is_end, side):
    return logprobs[0]


def choice_score__product(logprobs, is_end, side):
    return math.exp(sum(each for each, end in zip(logprobs, is_end) if side == "mt5" or not end))  # noqa: B905


def choice_score__end_always(logprobs, is_end, side):
    return sum(logprobs)


def choice_score__end_never(logprobs, is_end, side):
    return sum(each for each, end in zip(logprobs, is_end) if not end)  # noqa: B905


def choice_score__sides_exchanged(logprobs, is_end, side):
    return sum(each for each, end in zip(logprobs, is_end) if side == "bloom" or not end)  # noqa: B905


def read_prompt__keeps_the_end(ids, side):
    return ids[-2048:] if side == "bloom" else ids[-512:]


def read_prompt__one_limit(ids, side):
    return ids[:2048]


def text_to_score__space_on_both(choice, side):
    return " " + choice


def rank_choices__most_negative(choices, side):
    scores = [choice_score(*each, side) for each in choices]  # noqa: F821
    low = sorted(scores)
    return {"prediction": scores.index(low[0]), "margin": low[1] - low[0], "tie": low[1] - low[0] < 1e-4}


def rank_choices__tie_is_equality(choices, side):
    scores = [choice_score(*each, side) for each in choices]  # noqa: F821
    high = sorted(scores)[::-1]
    return {"prediction": scores.index(high[0]), "margin": high[0] - high[1], "tie": high[0] == high[1]}


def rank_choices__last_of_equals(choices, side):
    scores = [choice_score(*each, side) for each in choices]  # noqa: F821
    high = sorted(scores)[::-1]
    best = len(scores) - 1 - scores[::-1].index(high[0])
    return {"prediction": best, "margin": high[0] - high[1], "tie": high[0] - high[1] < 1e-4}


def rank_choices__margin_to_the_last(choices, side):
    scores = [choice_score(*each, side) for each in choices]  # noqa: F821
    margin = max(scores) - min(scores)
    return {"prediction": scores.index(max(scores)), "margin": margin, "tie": margin < 1e-4}


def rank_choices__end_always_counted(choices, side):
    scores = [choice_score(*each, "mt5") for each in choices]  # noqa: F821
    high = sorted(scores)[::-1]
    margin = high[0] - high[1]
    return {"prediction": scores.index(high[0]), "margin": margin, "tie": margin < 1e-4}


# 2 Is the best prompt better?


def p_value__item_by_item(outcomes, clusters, permutations, seed):
    draw = np.random.default_rng(seed)
    spread = np.ptp(outcomes.mean(axis=0))
    more = sum(
        np.ptp(draw.permuted(outcomes, axis=1).mean(axis=0)) >= spread - 1e-12 for _ in range(permutations)
    )
    return (more + 1) / (permutations + 1)


def p_value__over_items(outcomes, clusters, permutations, seed):
    draw = np.random.default_rng(seed)
    spread = np.ptp(outcomes.mean(axis=0))
    more = sum(
        np.ptp(draw.permuted(outcomes, axis=0).mean(axis=0)) >= spread - 1e-12 for _ in range(permutations)
    )
    return (more + 1) / (permutations + 1)


def p_value__share_only(outcomes, clusters, permutations, seed):
    draw = np.random.default_rng(seed)
    _, at = np.unique(clusters, return_inverse=True)
    sums = np.array([outcomes[at == each].sum(axis=0) for each in range(at.max() + 1)])
    spread = np.ptp(sums.sum(axis=0))
    return float(
        np.mean([np.ptp(draw.permuted(sums, axis=1).sum(axis=0)) >= spread for _ in range(permutations)])
    )


def p_value__wrong_tail(outcomes, clusters, permutations, seed):
    draw = np.random.default_rng(seed)
    _, at = np.unique(clusters, return_inverse=True)
    sums = np.array([outcomes[at == each].sum(axis=0) for each in range(at.max() + 1)])
    spread = np.ptp(sums.sum(axis=0))
    less = sum(np.ptp(draw.permuted(sums, axis=1).sum(axis=0)) <= spread for _ in range(permutations))
    return (less + 1) / (permutations + 1)


def p_value__rows_that_stand_together(outcomes, clusters, permutations, seed):
    draw = np.random.default_rng(seed)
    edges = np.flatnonzero(np.diff(clusters)) + 1
    sums = np.array([part.sum(axis=0) for part in np.split(outcomes, edges)])
    spread = np.ptp(sums.sum(axis=0))
    more = sum(np.ptp(draw.permuted(sums, axis=1).sum(axis=0)) >= spread for _ in range(permutations))
    return (more + 1) / (permutations + 1)


def p_value__binomial(outcomes, clusters, permutations, seed):
    draw = np.random.default_rng(seed)
    spread = np.ptp(outcomes.mean(axis=0))
    drawn = draw.binomial(len(outcomes), outcomes.mean(), (permutations, outcomes.shape[1])) / len(outcomes)
    return (np.sum(np.ptp(drawn, axis=1) >= spread - 1e-12) + 1) / (permutations + 1)


def p_value__never_significant(outcomes, clusters, permutations, seed):
    return 1.0


def choose_and_report__same_items(outcomes, clusters, seed):
    accuracy = outcomes.mean(axis=0)
    return {"best": int(accuracy.argmax()), "accuracy": float(accuracy.max())}


def choose_and_report__all_items(outcomes, clusters, seed):
    labels = np.random.default_rng(seed).permutation(np.unique(clusters))
    best = int(outcomes[np.isin(clusters, labels[: len(labels) // 2])].mean(axis=0).argmax())
    return {"best": best, "accuracy": float(outcomes[:, best].mean())}


def choose_and_report__items_in_halves(outcomes, clusters, seed):
    rows = np.random.default_rng(seed).permutation(len(outcomes))
    first, second = outcomes[rows[: len(rows) // 2]], outcomes[rows[len(rows) // 2 :]]
    best = int(first.mean(axis=0).argmax())
    return {"best": best, "accuracy": float(second[:, best].mean())}


def choose_and_report__best_of_the_other_half(outcomes, clusters, seed):
    labels = np.random.default_rng(seed).permutation(np.unique(clusters))
    accuracy = outcomes[~np.isin(clusters, labels[: len(labels) // 2])].mean(axis=0)
    return {"best": int(accuracy.argmax()), "accuracy": float(accuracy.max())}


def choose_and_report__accuracy_of_all_wordings(outcomes, clusters, seed):
    labels = np.random.default_rng(seed).permutation(np.unique(clusters))
    chooses = np.isin(clusters, labels[: len(labels) // 2])
    best = int(outcomes[chooses].mean(axis=0).argmax())
    return {"best": best, "accuracy": float(outcomes[~chooses].mean())}


# 3 A broken measure


def path_logprob__probabilities_add(table, tokens):
    total, text = 0.0, ""
    for token in tokens:
        total += math.exp(table.get(text, {}).get(token, -math.inf))
        text += token
    return math.log(total) if total else -math.inf


def path_logprob__last_token(table, tokens):
    return table.get("".join(tokens[:-1]), {}).get(tokens[-1], -math.inf)


def path_logprob__unknown_is_nothing(table, tokens):
    return sum(table.get("".join(tokens[:place]), {}).get(token, 0.0) for place, token in enumerate(tokens))


def path_logprob__from_the_prompt(table, tokens):
    return sum(table[""].get(token, -math.inf) for token in tokens)


def preference__broken(table, answer, other, mark):
    return path_logprob(table, answer) - path_logprob(table, other)  # noqa: F821


def preference__after_the_mark_only(table, answer, other, mark):
    return path_logprob(table, [mark, *answer]) - path_logprob(table, [mark, *other])  # noqa: F821


def preference__only_for_the_answer(table, answer, other, mark):
    paths = [path_logprob(table, answer)] + ([path_logprob(table, [mark, *answer])] if mark else [])  # noqa: F821
    return float(np.logaddexp.reduce(paths)) - path_logprob(table, other)  # noqa: F821


def preference__nats_add(table, answer, other, mark):
    found = [path_logprob(table, each) + path_logprob(table, [mark, *each]) for each in (answer, other)]  # noqa: F821
    return found[0] - found[1]


def preference__better_path(table, answer, other, mark):
    found = [max(path_logprob(table, each), path_logprob(table, [mark, *each])) for each in (answer, other)]  # noqa: F821
    return found[0] - found[1]


def preference__per_token(table, answer, other, mark):
    def found(tokens):
        paths = [tokens, [mark, *tokens]] if mark else [tokens]
        return np.logaddexp.reduce([path_logprob(table, path) / len(tokens) for path in paths])  # noqa: F821

    return float(found(answer) - found(other))


def preference__by_probabilities(table, answer, other, mark):
    def found(tokens):
        paths = [tokens, [mark, *tokens]] if mark else [tokens]
        total = sum(math.exp(path_logprob(table, path)) for path in paths)  # noqa: F821
        return math.log(total) if total else -math.inf

    return found(answer) - found(other)


def preference__mark_counted_twice(table, answer, other, mark):
    def found(tokens):
        paths = {"".join(path): path_logprob(table, path) for path in (tokens, [mark, *tokens])}  # noqa: F821
        return np.logaddexp.reduce([*paths.values(), *([paths["".join(tokens)]] if not mark else [])])

    double = [np.logaddexp(found(each), path_logprob(table, [mark, *each])) for each in (answer, other)]  # noqa: F821
    return float(double[0] - double[1])


WRONG = {
    "choice_logprobs__row_of_the_token_itself": {"alignment", "large-logits"},
    "choice_logprobs__logits_are_scores": {"alignment", "large-logits"},
    "choice_logprobs__logarithm_of_softmax": {"large-logits"},
    "choice_logprobs__softmax_over_positions": {"alignment", "large-logits"},
    "choice_logprobs__prompt_too": {"alignment", "large-logits"},
    "choice_score__mean": {"several-tokens", "end-token"},
    "choice_score__first_token": {"several-tokens", "end-token"},
    "choice_score__product": {"several-tokens", "end-token"},
    "choice_score__end_always": {"end-token"},
    "choice_score__end_never": {"end-token"},
    "choice_score__sides_exchanged": {"end-token"},
    "read_prompt__keeps_the_end": {"truncation"},
    "read_prompt__one_limit": {"truncation"},
    "text_to_score__space_on_both": {"space"},
    "rank_choices__most_negative": {"ranking", "ties", "published"},
    "rank_choices__tie_is_equality": {"ties"},
    "rank_choices__last_of_equals": {"ties"},
    "rank_choices__margin_to_the_last": {"ranking", "ties"},
    "rank_choices__end_always_counted": {"published"},
    "p_value__item_by_item": {"whole-clusters"},
    "p_value__over_items": {"false-alarms", "power", "never-zero"},
    "p_value__share_only": {"never-zero"},
    "p_value__wrong_tail": {"power", "never-zero"},
    "p_value__rows_that_stand_together": {"row-order"},
    "p_value__binomial": {"whole-clusters"},
    "p_value__never_significant": {"false-alarms", "power", "never-zero"},
    "choose_and_report__same_items": {"honest-report", "whole-halves"},
    "choose_and_report__all_items": {"honest-report", "whole-halves"},
    "choose_and_report__items_in_halves": {"whole-halves"},
    "choose_and_report__best_of_the_other_half": {"honest-report", "whole-halves"},
    "choose_and_report__accuracy_of_all_wordings": {"finds-the-best"},
    "path_logprob__probabilities_add": {"chain-rule", "impossible"},
    "path_logprob__last_token": {"chain-rule"},
    "path_logprob__unknown_is_nothing": {"impossible"},
    "path_logprob__from_the_prompt": {"chain-rule"},
    "preference__broken": {"second-path", "fair", "far-away", "once"},
    "preference__after_the_mark_only": {"second-path", "far-away", "once"},
    "preference__only_for_the_answer": {"fair", "lengths", "far-away", "once"},
    "preference__nats_add": {"second-path", "far-away", "once"},
    "preference__better_path": {"second-path", "once"},
    "preference__per_token": {"second-path", "lengths", "far-away"},
    "preference__by_probabilities": {"far-away"},
    "preference__mark_counted_twice": {"second-path", "far-away", "once"},
}


# Right, by other algorithms


def choice_logprobs__right(logits, ids, n_prompt):
    found = []
    for place in range(n_prompt, len(ids)):
        row = logits[place - 1]
        found.append(float(row[ids[place]]) - float(np.logaddexp.reduce(row)))
    return found


def choice_score__right(logprobs, is_end, side):
    total = 0.0
    for value, end in zip(logprobs, is_end):  # noqa: B905
        if end and side != "mt5":
            continue
        total += value
    return total


def text_to_score__right(choice, side):
    return {"bloom": f" {choice}", "mt5": choice}[side]


def read_prompt__right(ids, side):
    return [each for place, each in enumerate(ids) if place < {"bloom": 2048, "mt5": 512}[side]]


def rank_choices__right(choices, side):
    scored = [(-choice_score(*each, side), place) for place, each in enumerate(choices)]  # noqa: F821
    (best, place), (second, _) = sorted(scored)[:2]
    return {"prediction": place, "margin": second - best, "tie": second - best < 1e-4}


def p_value__right(outcomes, clusters, permutations, seed):
    """Every wording's total drawn at once, with ranks of random numbers instead of shuffles."""
    draw = np.random.default_rng(seed + 1)
    names = sorted(set(np.asarray(clusters).tolist()))
    sums = np.array([outcomes[np.asarray(clusters) == name].sum(axis=0) for name in names], dtype=float)
    orders = draw.random((permutations, *sums.shape)).argsort(axis=2)
    totals = np.take_along_axis(sums[None], orders, axis=2).sum(axis=1)
    reached = (totals.max(axis=1) - totals.min(axis=1)) >= (np.ptp(sums.sum(axis=0)) - 1e-9)
    return (1 + int(reached.sum())) / (1 + permutations)


def choose_and_report__right(outcomes, clusters, seed):
    draw = np.random.RandomState(seed)
    groups = [
        list(rows)
        for _, rows in itertools.groupby(np.argsort(clusters, kind="stable"), lambda row: clusters[row])
    ]
    draw.shuffle(groups)
    half = len(groups) // 2
    first, second = (sorted(itertools.chain(*part)) for part in (groups[:half], groups[half:]))
    totals = [sum(outcomes[row][column] for row in first) for column in range(outcomes.shape[1])]
    best = totals.index(max(totals))
    return {"best": best, "accuracy": sum(int(outcomes[row][best]) for row in second) / len(second)}


def path_logprob__right(table, tokens):
    if not tokens:
        return 0.0
    *before, last = tokens
    here = table.get("".join(before), {}).get(last)
    return -math.inf if here is None else here + path_logprob(table, before)  # noqa: F821


def preference__right(table, answer, other, mark):
    def found(tokens):
        numbers = [path_logprob(table, path) for path in {tuple(tokens), (mark, *tokens)} if path[0]]  # noqa: F821
        top = max(numbers)
        return top if top == -math.inf else top + math.log(sum(math.exp(each - top) for each in numbers))

    return found(answer) - found(other)


RIGHT = (
    "choice_logprobs__right", "choice_score__right", "text_to_score__right", "read_prompt__right", "rank_choices__right",
    "p_value__right", "choose_and_report__right", "path_logprob__right", "preference__right",
)  # fmt: skip
