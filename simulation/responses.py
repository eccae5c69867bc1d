"""How simulated users answer what they are shown: the probability of each response, and what it does to them.

With the factors and the context x of an impression of item i, of category c, to user u, response r has the logit

    b_r + e_r x + d_ur + e_r,taste T_r + e_r,mood M_r + e_r,fatigue n_uc / (3 + n_uc)

    T_r = sqrt(1 - S) t_uc + sqrt(S) t_uc^r              the taste a user starts from, of unit variance at every S
    M_r = (1 - S) h(m_uc) + S h(m_uc^r)                  the mood, h(m) = m / (1 + m)

where S are the task interests, from 0 to 1. At 0 all responses follow one taste t and one mood m, which anything that
was enjoyed lifts. At 1 each response follows a taste t^r and a mood m^r of its own, and m^r is lifted by the behaviour
of r alone (`OWN_LIFT`), which has a column of the log: what a user likes is seen in what was liked, and nowhere else.
The effects e don't depend on S: it says whose interest is followed, and not how much interests count. Fatigue n stays
common: what was seen too much tires.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy.special import betainc, betaincinv, expit

from simulation.world import COUNTRIES, DEVICES, FACTOR_TAGS, NETWORKS, RESPONSES, TABS, Columns, Floats, World

INTERCEPT = (0.45, 0.1, -4.0, -4.3, -4.3)
# The logit of each response moves by this much per unit of a signal; factors and taste have unit variance.
EFFECTS: dict[str, tuple[float, ...]] = {
    #               click, completion, like, share, comment
    "quality":      (0.50, 0.60, 0.60, 0.30, -0.10),
    "bait":         (1.30, -0.80, -0.50, 0.20, 0.30),
    "provocation":  (0.25, 0.00, -0.70, 0.30, 1.00),
    "usefulness":   (-0.25, 0.20, 0.20, 0.90, -0.30),
    "length":       (-0.20, -0.80, 0.50, 0.10, 0.20),
    "taste":        (0.80, 0.60, 0.70, 0.40, 0.30),
    "mood":         (0.80, 0.70, 1.20, 0.80, 0.60),
    "fatigue":      (-1.20, -0.80, -0.60, -0.30, 0.00),
    "young":        (0.20, -0.20, 0.60, 0.30, -0.50),
    "ios":          (0.00, 0.10, 0.20, 0.40, 0.00),
    "brazil":       (0.10, 0.00, 0.40, 0.20, 0.40),
    "night":        (0.20, 0.30, 0.00, -0.20, 0.40),
    "wifi":         (0.20, 0.30, 0.00, 0.00, 0.00),
    "following":    (0.40, 0.20, 0.60, 0.10, 0.50),
    "search":       (-0.30, 0.30, -0.30, 0.60, -0.20),
}  # fmt: skip
# The share watched of a played video is Beta with this concentration; from FINISHED on it counts as the whole.
CONCENTRATION = 4.0
FINISHED = 0.95
# How many of those who finish let it play again, and for how long on average, in lengths of the video.
REPLAYS, REPLAY_LENGTH = 0.3, 0.5
# Mood fades over days and fatigue over hours (e-folding times).
MOOD_HOURS, FATIGUE_HOURS = 72.0, 8.0
# By how much a response's own behaviour lifts its own mood; the rarer, the more, so that own moods of all responses
# vary about as much as the common one does.
OWN_LIFT = {"click": 0.3, "completion": 0.5, "like": 2.0, "share": 2.5, "comment": 2.5}
STAYED_MS = 15_000
# Places of an impression's uniform draws: two of how it is played again, and one of each other answer.
DRAWS = ("click", "watched", "replay", "replay_length", "like", "share", "comment")


@dataclass
class State:
    """What impressions have done to users so far, by category.

    Attributes:
      mood, fatigue: `(users, categories)`.
      own_mood: `(users, categories, responses)`; no responses where all follow common interests.
    """

    mood: Floats
    fatigue: Floats
    own_mood: Floats = field(repr=False)

    @classmethod
    def fresh(cls, world: World) -> "State":
        shape = world.taste.shape
        return cls(np.zeros(shape), np.zeros(shape), np.zeros(world.own_taste.shape))

    def copy(self) -> "State":
        return State(self.mood.copy(), self.fatigue.copy(), self.own_mood.copy())

    def fade(self, hours: int = 1) -> None:
        """Lets moods and fatigue fade for some hours."""
        for mood in (self.mood, self.own_mood):
            mood *= np.exp(-hours / MOOD_HOURS)
        self.fatigue *= np.exp(-hours / FATIGUE_HOURS)

    def absorb(self, world: World, log: Columns) -> None:
        """Lets what happened act on its users."""
        user_category = (log["user"], world.category[log["item"]])
        enjoyed = 0.7 * log["like"] + 0.7 * log["share"] + 0.3 * (log["play_ms"] > 0.7 * log["duration_ms"])
        np.add.at(self.mood, user_category, enjoyed)
        np.add.at(self.fatigue, user_category, log["clicked"].astype(float))
        if self.own_mood.size:
            behaviours = own_behaviours(log)
            lifts = np.stack([OWN_LIFT[name] * behaviours[name] for name in RESPONSES], axis=1)
            np.add.at(self.own_mood, user_category, lifts)


def own_behaviours(log: Columns) -> Columns:
    """Returns by response the behaviour that shows its own interest, bool `(rows,)`, a condition on the log."""
    return {
        "click": log["play_ms"] >= 3_000,
        "completion": log["play_ms"] >= STAYED_MS,
        **{name: log[name].astype(bool) for name in ("like", "share", "comment")},
    }


def probabilities(world: World, state: State, shown: Columns, hour: int) -> Floats:
    """Returns the probability of each response, and for completion the mean share watched, `(rows, responses)`.

    Args:
      shown: `user`, `item`, `tab` and `network` of each impression, as indices.
      hour: of the impressions, counted from the start of the logs.
    """
    user, item, interests = shown["user"], shown["item"], world.task_interests
    category = world.category[item]
    liked, tired = state.mood[user, category], state.fatigue[user, category]
    signals = dict(zip(FACTOR_TAGS, world.factors[item].T, strict=True)) | {
        "length": np.log(duration_ms(world, item) / 22_000) / 0.8,
        "taste": np.sqrt(1 - interests) * world.taste[user, category],
        "mood": (1 - interests) * _saturated(liked),
        "fatigue": tired / (3 + tired),
        "young": world.age[user] < 2,
        "ios": world.device[user] == DEVICES.index("ios"),
        "brazil": world.country[user] == COUNTRIES.index("BR"),
        "night": np.full(len(user), hour % 24 >= 22 or hour % 24 < 5),
        "wifi": shown["network"] == NETWORKS.index("wifi"),
        "following": shown["tab"] == TABS.index("following"),
        "search": shown["tab"] == TABS.index("search"),
    }
    observed = np.stack([signals[name] for name in EFFECTS], axis=1)
    logits = INTERCEPT + observed @ np.array(list(EFFECTS.values())) + world.deviation[user]
    if interests:
        logits += np.array(EFFECTS["taste"]) * np.sqrt(interests) * world.own_taste[user, category]
        logits += np.array(EFFECTS["mood"]) * interests * _saturated(state.own_mood[user, category])
    return expit(logits)


def expectations(responses: Floats, duration: Floats) -> Columns:
    """Returns what a perfect model would say: the probability of each binary task, and the expected completion.

    Args:
      responses: as of `probabilities`.
      duration: of the videos, ms.
    """
    click, completion, like, share, comment = responses.T
    a, b = _watched_shape(completion)
    return {
        "clicked": click,
        # P(play >= 3 s) = P(click) P(Beta >= 3 s / duration); every video is longer than 3 s / FINISHED.
        "view_through": click * (1 - betainc(a, b, 3_000 / duration)),
        # E[min(played, 1) | click] = E[Beta; Beta < FINISHED] + P(Beta >= FINISHED)
        "completion": completion * betainc(a + 1, b, FINISHED) + 1 - betainc(a, b, FINISHED),
        **{"like": like, "share": share, "comment": comment},
    }


def draw_answers(rng: np.random.Generator, responses: Floats, duration: Floats) -> Columns:
    """Returns answers drawn one after the other: `clicked`, `play_ms`, `duration_ms`, `like`, `share`, `comment`."""
    click, completion, *feedback = responses.T
    rows = len(click)
    clicked = rng.random(rows) < click
    watched = rng.beta(*_watched_shape(completion))
    replay = np.where(rng.random(rows) < REPLAYS, rng.exponential(REPLAY_LENGTH, size=rows), 0.0)
    return _answers(clicked, watched, replay, duration, [rng.random(rows) < probability for probability in feedback])


def answers_of(uniforms: Floats, responses: Floats, duration: Floats) -> Columns:
    """Returns the answers that `uniforms` `(rows, DRAWS)` stand for: quantiles, the same wherever they are asked for.

    An answer to equal uniforms only moves with its probability, so that two policies differ by what they show.
    """
    draw = dict(zip(DRAWS, uniforms.T, strict=True))
    click, completion, *feedback = responses.T
    watched = betaincinv(*_watched_shape(completion), draw["watched"])
    replay = np.where(draw["replay"] < REPLAYS, -REPLAY_LENGTH * np.log1p(-draw["replay_length"]), 0.0)
    gives = [draw[name] < probability for name, probability in zip(("like", "share", "comment"), feedback, strict=True)]
    return _answers(draw["click"] < click, watched, replay, duration, gives)


def duration_ms(world: World, item: np.ndarray) -> np.ndarray:
    """Returns the videos' lengths, int64 ms."""
    return np.round(world.duration_s[item] * 1000).astype(np.int64)


def _saturated(mood: Floats) -> Floats:
    return mood / (1 + mood)


def _watched_shape(completion: Floats) -> tuple[Floats, Floats]:
    """Returns the two parameters of the Beta distribution of the share watched."""
    return CONCENTRATION * completion, CONCENTRATION * (1 - completion)


def _answers(
    clicked: np.ndarray, watched: Floats, replay: Floats, duration: np.ndarray, feedback: list[np.ndarray]
) -> Columns:
    """Returns the answers; who finishes may let it play again, and the play is longer than the video then."""
    played = np.where(watched >= FINISHED, 1.0 + replay, watched) * clicked
    like, share, comment = (clicked & gives for gives in feedback)
    return {
        "play_ms": np.round(played * duration).astype(np.int64),
        "duration_ms": duration,
        "clicked": clicked,
        **{"like": like, "share": share, "comment": comment},
    }
