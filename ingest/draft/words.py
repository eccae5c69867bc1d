"""The words of column names, and what they say: `playTimeMs` is `play time ms`, which is known after the impression."""

import re
from collections.abc import Iterable


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


USER_WORDS = _set(
    "user person people customer member visitor client account viewer reader player who uid shopper buyer"
)
ITEM_WORDS = _set(
    "item movie video article content product book song track news post note ad photo sku asin what doc document "
    "creative goods listing business game app recipe story clip iid pid vid"
)
ID_WORDS = _set("id key code uuid guid hash")
TIME_WORDS = _set("timestamp time ts at when date datetime created occurred day tstamp epoch")
EVENT_WORDS = _set("event action behavior behaviour interaction activity verb did type")
REQUEST_WORDS = _set("request req pageview query")
SESSION_WORDS = _set("session trace visit")
AUTHOR_WORDS = _set(
    "author creator channel artist publisher brand seller shop advertiser uploader director merchant store"
)
# The likeliest first.
CATEGORY_WORDS = ("category", "genre", "topic", "section", "subject", "department", "cat", "class", "tag", "type")
# Of a column that says the hour or the day once more.
CALENDAR_WORDS = _set("hour minute min weekday dow month week")
LENGTH_WORDS = _set("duration length runtime len")

# An event's value that opens an impression, the likeliest first.
IMPRESSION_WORDS = tuple(
    "impression impress exposure expose exposed imp show shown display view viewed pageview pv visit open".split()  # noqa: SIM905
)
POSITIVE_WORDS = _set(
    "click like view share comment follow forward buy purchase order cart addtocart fav favorite favourite bookmark "
    "save install convert conversion finish complete watch play download subscribe signup reply retweet repost open "
    "read listen vote upvote rate transaction pay paid add collect wish profile enter love star print engage"
)
NEGATIVE_WORDS = _set(
    "hate dislike report block skip hide unlike unfollow bounce complain negative downvote mute uninstall "
    "unsubscribe return refund spam"
)
LABEL_WORDS = _set("label target y outcome response")
RATING_WORDS = _set("rating stars grade score rate")
# Numbers that grow while, or after, the impression is looked at.
FEEDBACK_NUMBERS = _set(
    "play watch dwell stay spent view read listen elapsed engage scroll revenue gmv amount paid quantity progress "
    "completion"
)
CONSUMED_WORDS = _set("play watch view read listen dwell")
POSITION_WORDS = _set("position rank pos slot")
MODEL_WORDS = _set("pctr pcvr pred predicted prediction prob propensity probability")
# What is known beforehand, of a 0/1 column.
CONTEXT_WORDS = _set(
    "weekend wifi mobile holiday new premium member logged organic ios android subscriber night morning active adult "
    "author streamer lowactive vip verified male female gender live original sponsored ad"
)
# Numbers that count or measure something, few values or not.
MEASURE_WORDS = _set(
    "count num number n age days hours price cost size length duration width height amount total avg mean score share "
    "ratio year years temperature weight distance income"
)
# Whole numbers that name something.
CODE_WORDS = _set("id code zip postal feat cat category cluster hash type class tab status level group")

_PAST = {
    "click": "clicked",
    "like": "liked",
    "view": "viewed",
    "share": "shared",
    "comment": "commented",
    "follow": "followed",
    "forward": "forwarded",
    "buy": "bought",
    "purchase": "purchased",
    "order": "ordered",
    "bookmark": "bookmarked",
    "save": "saved",
    "install": "installed",
    "convert": "converted",
    "finish": "finished",
    "complete": "completed",
    "watch": "watched",
    "play": "played",
    "download": "downloaded",
    "subscribe": "subscribed",
    "open": "opened",
    "read": "have_read",
    "reply": "replied",
    "engage": "engaged",
    "favorite": "favorited",
    "skip": "skipped",
    "hate": "hated",
    "dislike": "disliked",
    "predict": "predicted",
    "block": "blocked",
    "report": "reported",
    "upvote": "upvoted",
    "hide": "hidden",
    "rate": "rated",
    "enter": "entered",
    "visit": "visited",
    "add": "added",
    "pay": "paid",
    "listen": "listened",
    "vote": "voted",
    "repost": "reposted",
    "retweet": "retweeted",
    "print": "printed",
    "collect": "collected",
    "wish": "wished",
    "unfollow": "unfollowed",
}
_BASE = {past: verb for verb, past in _PAST.items()}
_SPLIT = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_KNOWN = frozenset().union(
    USER_WORDS,
    ITEM_WORDS,
    ID_WORDS,
    TIME_WORDS,
    EVENT_WORDS,
    SESSION_WORDS,
    AUTHOR_WORDS,
    CATEGORY_WORDS,
    LENGTH_WORDS,
    CALENDAR_WORDS,
    POSITIVE_WORDS,
    RATING_WORDS,
    FEEDBACK_NUMBERS,
    MEASURE_WORDS,
    ("ms", "s", "sec", "seconds", "is"),
)


def words_of(name: str) -> tuple[str, ...]:
    """Returns the lower-case words of a name, verbs in their base form: `isClicked` is `is`, `click`.

    Two known words that are written together are two: `userid` is `user`, `id`.
    """
    pieces = [piece.lower() for piece in _SPLIT.findall(name)]
    return tuple(_BASE.get(word, word) for piece in pieces for word in _apart(piece))


def _apart(piece: str) -> tuple[str, ...]:
    if piece in _KNOWN or piece in _BASE:
        return (piece,)
    for cut in range(len(piece) - 2, 1, -1):
        head, tail = piece[:cut], piece[cut:]
        if head in _KNOWN and tail in _KNOWN:
            return head, tail
    return (piece,)


def has(name: str, words: Iterable[str]) -> bool:
    """Returns whether one of the name's words is among `words`."""
    return not frozenset(words).isdisjoint(words_of(name))


def identifier(name: str) -> str:
    """Returns a name as the spec takes it: lower-case words with underscores, a letter first."""
    pieces = [piece.lower() for piece in _SPLIT.findall(name)]
    text = "_".join(pieces)
    return text if text[:1].isalpha() else f"column_{text}" if text else "column"


def verb_of(name: str) -> str:
    """Returns what a feedback column or an event says that somebody did: `is_click` and `clicked` are `click`."""
    pieces = [_BASE.get(piece, piece) for piece in identifier(name).split("_")]
    while len(pieces) > 1 and pieces[0] in ("is", "has", "did", "label", "event", "count", "num", "n"):
        pieces = pieces[1:]
    while len(pieces) > 1 and pieces[-1] in ("created", "event", "action", "flag"):
        pieces = pieces[:-1]
    return "_".join(pieces)


def past_of(verb: str) -> str:
    """Returns the name of a sequence of what somebody did: `like` is `liked`, and `long_view` is `long_viewed`."""
    *before, last = verb.split("_")
    if last in _PAST:
        return "_".join([*before, _PAST[last]])
    return f"did_{verb}"
