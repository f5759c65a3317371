"""Wording that is not plain, conventional technical English: the patterns of the language check."""

import re

UNITS = r"(?:one|two|three|few|far|s|ms|seconds?|minutes?|steps?|iterations?|rows|columns|decades)"
ONE_PER = (
    r"(?:page|row|line|thread|process|step|tensor|host|rank|file|cell|core|core's|call|column|list|number|word|folder"
    r"|package|run|curve|seed|name|entry|block|dict|job|point|test|commit|value)"
)

# Name, with a plain form in brackets -> regular expressions. A passage has single spaces when it is matched.
PATTERNS = {
    "ellipsis (give the sentence a subject and a verb)": (
        r"\bThe price: ",
        r"\bAll of it, ",
        r"\b(?-i:Nor) (?:is|are|does|do|has|have|can|at|by|an?|the|what) ",
    ),
    "noun clause as a sentence (begin with a verb or a noun)": (
        r"(?:\A|(?<=[.:] ))(?-i:What) (?!is\b|are\b)[^?]*?[.:](?= |\Z)",
        r"\A(?-i:Which|Who|How (?!to\b))[^?]*\Z",
    ),
    "go on (resume, continue)": (r"\bgo(?:es|ing|ne)? on\b", r"\bwent on\b"),
    "cannot be; (invalid X: must be ...)": (
        r"\bcannot be[;:,](?= )",
        r"\bthat cannot be(?=[.,;)]|\Z)",
        r"; give (?:at least|at most|an?|one|none|numbers?|from)\b",
    ),
    "is no X (is not a X)": (
        r"(?<![Tt]here )\b(?:is|are|was|were) no (?!longer\b|more\b|less\b|fewer\b|better\b|worse\b|other\b|\w+er than\b)[a-z]",
        r"\bno whole\b",
    ),
    "of its own (its own, custom, separate)": (
        r"\bof (?:its|their|your|his|my|our|one's|\w+(?: \w+)?(?:'s|s')) own\b(?! (?:modules|types|code|files|names)\b)",
    ),
    "a X a Y (one X per Y)": (
        rf"\b(?:an?|one) {ONE_PER} an? (?!time\b|few\b|day\b|second\b)[a-z]",
        r"\b(?:two|three|four|\d+) an? (?:step|rank|host|core|environment|episode|iteration|run|row)\b",
    ),
    "say, tell, speak (print, log, report, state)": (
        r"\b(?:says|said|saying|tells|told|telling|speaks?|spoken|spoke)\b",
        r"\b(?:to|not|and|must|can|could|would|will) say\b",
        r"\bsay (?:so|what|how|which|why|where|it|nothing)\b",
        r"\bto tell\b",
        r"\btell of\b",
    ),
    "beside (compared with, next to, in addition to)": (r"\bbeside\b",),
    "apart (separately, significantly different)": (rf"(?:\A|\b(?!{UNITS}\b)[^ ]+ )apart\b(?! from\b)",),
    "earn (score)": (r"\bearn(?:s|ed|ing)?\b",),
    "stand (is, current, stall)": (
        r"\b(?:stands(?! for\b)|stood|standstill|standing)\b",
        r"\bstand(?=[.,;:)])",
        r"\bstand (?:in|at|before|behind|first|where|there|now|here|still|within|by|on|beside|under|over|above|below|as)\b",
    ),
    "archaic (must, again, forever)": (
        r"\b(?:shall|anew|afresh|lest|whence|hitherto|thereof|hither|ere)\b",
        r"\bfor ever\b",
    ),
    "translated idiom": (
        r"\bas (?:\w\S* ){1,3}(?:has|have) (?:it|them)\b",
        r"\btaken for\b(?! granted)",
        r"\bby much\b",
        r"\bsooner\b",
        r"\bmakes? of (?:it|them)\b",
        r"\bwhole again\b",
        r"\btoday's\b",
        r"\bwhatever (?:the|its|their|has|was|happens|a|an|it|they|is)\b",
        r"\b(?:of|by|for) (?:itself|themselves)\b",
        r"\bcomes? true\b",
        r"\bno matter\b",
        r"\ba slip of\b",
        r"\bas much as to\b",
        r"\btakes? no more\b",
        r"\bwhoever\b",
        r"\bat the (?:most|least)\b(?! one\b)",
        r"\bbut for\b",
        r"\bnothing moves\b",
        r"\bon (?:the|a) screen\b",
    ),
    "deviation (standard deviation)": (r"(?<!standard )\bdeviations?\b",),
    "project target (name the source)": (
        r"\bour aim\b",
        r"\b(?:its|their|these|against|held to a|held to the|to the|where a) bars?\b",
        r"\(bar [\d,]",
        r"\bbars? of \d",
        r"\bhoped for\b",
        r"\bwhat was asked of\b",
        r"\btarget \d",
    ),
    "death (termination)": (r"\bdeaths?\b", r"\bdies of\b"),
    "film (video)": (r"(?<!--)\bfilm(?:s|ed|ing)?\b(?!\.gif)",),
    "pictures (frames)": (r"\bpictures?\b",),
    "A block in which (Context manager that)": (r"\b[Aa] block (?:in which|that|with|which)\b",),
    "in words (as text)": (r"\bin words\b",),
    "whole or not at all (atomically)": (r"\bwhole,? or not\b", r"\ball or nothing\b"),
    "under way (in progress, running)": (r"\bunder way\b",),
    "mend (fix)": (r"\bmend(?:s|ed|ing)?\b",),
    "door (process exit, input boundary)": (r"\bdoors?\b",),
    "room (memory, capacity, upper bound)": (r"\brooms?\b",),
    "count as a verb (valid, used)": (r"\b(?:what|that|which|rows that) counts?\b",),
    "hand on, pass on (forward)": (
        r"\b(?:hands?|handed|handing|pass|passes|passed|passing) (?:it |them |all |this )?on\b(?! to the next)",
    ),
    "come to (is, equals)": (
        r"\bwhat (?:it|they|that|this) comes? to\b",
        r"\bcomes? to (?:a stand|an end|rest|light|the same|terms)\b",
        r"\bcame to a stand\b",
    ),
    "last words (exit reason, error message)": (r"\blast words?\b",),
    "drift (diverge)": (r"\bdrift(?:s|ed|ing)? (?:apart|away)\b",),
    "look at, take note (check, record)": (
        r"\blook(?:s|ed|ing)? whether\b",
        r"\blook(?:s|ed) at\b",
        r"\b(?:is|are|was|were|be|been|not) looked (?:for|after|into|up)\b",
        r"\b(?:takes?|took|taken|taking) note\b",
    ),
    "share out (split across)": (r"\bshar(?:e|es|ed|ing) out\b",),
    "pass over (skip)": (r"\b(?:pass|passes|passed|passing) over\b",),
    "newest (latest)": (r"\bnewest\b",),
    "by chance (at random, uninitialised)": (r"\bby chance\b",),
    "words of a command (arguments)": (
        r"\bwords of (?:a|the|its|this|that) (?:command|run|line)\b",
        r"\bcommand's words\b",
    ),
    "bits (bit-identical)": (
        r"\bto the (?:last )?bit\b",
        r"\b(?:the )?same bits\b",
        r"\bbit for bit\b",
        r"\blast bits\b",
    ),
    "history (present tense)": (
        r"\bwritten before the first run\b",
        r"\bchanged places since\b",
        r"\bversions on \w+ days\b",
        r"\bas told (?:below|above)\b",
    ),
}
PATTERNS = {name: re.compile("|".join(alternatives), re.IGNORECASE) for name, alternatives in PATTERNS.items()}
