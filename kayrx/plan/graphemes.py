"""Extended grapheme clusters (UAX #29): where a text may be cut without cutting what a reader sees as one.

Python has no table of the property Grapheme_Cluster_Break.  Here it is, so an answer does not depend on
the Unicode version of the Python that runs: that of Unicode 18, written as runs, ``gap CLASS length`` in base 36.
"""

from __future__ import annotations

import re
from functools import cache

# Classes: R N carriage return, line feed; C control; E extend, I a linker of conjuncts, M one that keeps out of
# them; Z zero width joiner; S spacing mark; P prepend; G regional indicator; X pictograph; K consonant of
# conjuncts; L V T Hangul, and A B its syllables; O any other.
RUNS = """
Ca N C2 R Ci 2nCx 9X 3C X ghE34 7nE7 7bE19 1E 1E2 1E2 1E3 1iP6 aEb 1C 1aEl gE 2tE7 P 1E6 2E2 1E4 xP 1E uEr 2jEb
1mE9 9E oE4 1E9 1E3 1E5 17E3 1gP2 5E9 16Eo P Ew S hK11 E S E 1S3 E8 S4 I S2 1E7 K8 2E2 kK8 1E S2 hKk 1K7 1K 3K4
2E 1E S2 E4 2S2 2S2 I 9E 4K2 1K 2E2 cK2 cE 2E2 S 1kE 1S3 E2 4E2 2E3 3E uE2 3E bE2 S hKk 1K7 1K2 1K5 2E 1S3 E5
1E2 S 1S2 I kE2 lK E6 1E S2 hKk 1K7 1K2 1K5 2E 1E2 S E4 2S2 2S2 I 5E5 4K2 1K 2E2 dK gE 1nE S E S2 3S3 1S3 E 9E
14E S3 E gKk 1Kg 2E 1E3 S4 1E3 1E3 I 7E2 1K3 7E2 tE S2 1kE 1S E2 S E S2 1E3 1E4 7E2 bE2 fS cE2 S2 hK12 E2 1E S2
E4 1S3 1S3 I P 8E aE2 tE S2 1yE 4E S2 E3 1E 1S7 E iS2 1pE 1S E7 cE8 2qE 1S E9 bE7 21E2 rE 1E 1E 4S2 1dEe S E5
1E2 5Eb 1E10 9E 1lK17 2E4 S E6 1I E S2 E2 K gK6 S2 E2 K4 E3 K 3K2 7K3 E4 Kd E 1S E2 6E K eE 2qL2o V20 T2g 9pE3
qaE4 sE3 tE2 uE2 cK1g E2 S E7 S8 E S2 E9 I E 9E 19E3 C E 39E2 yE 3aE3 S4 E2 S3 4S2 E S6 E3 63E2 S2 E 4K1h S E S
E7 1I 1E 2E8 S6 Ea 2E 1cE1t fE4 S 6K2 6Kx Ea S4 E2 I K8 uE9 cE2 S Ku S E4 S2 E3 I E2 K2 bK3 14E S E2 S3 E S E5
1cS8 E8 S2 E2 48E3 1Ed S E7 4E 6E 2S E2 5iE1s ejC M Z C2 oC7 dX cX mCg 2oEx 1dX mX 2iX6 fX2 a7X2 cX 4mX pXb 4X3
5jX 6fX2 aX 9X 1mX4 1X5 9X 2X 2X2 2X 4X 2X 1X2 2X 3X 3X2 8X3 5X 1X 5Xc bX2 2X 1X2 1X iX 2X2 iX6 1X 1X2 3X2 5X
2X2 4X2 bX2 5X2 2X 5X2 1X 1X2 kX2 5X6 1X4 2X 4X 2X 2X6 1X 2X 1X 1X 6X 3X 6X aX2 fX 2X 4X 1X 4X3 1X bX2 1cX3 9X
eX eX acX2 cvX3 jX2 1fX 4X bdE3 3xE 2oEw feE6 X cX 2jE2 e4X 1X mvpE4 1Ea wE2 28E2 7kE 3E 4E nS2 E2 S 4E 2bS2
1eSg E2 qEi dE 12E8 pEb S E cLt 3E3 S 5K3 3K10 E S2 E4 S2 E2 S2 I vK5 E 1K9 aK5 16E6 S2 E2 S2 E2 cE 8E S iKg 1K3
6K 1E 1K2 1cE 1E3 2E2 5E2 1E uKb S E2 S2 5S I 5lKr 8S2 E S2 E S2 1S E 8n6Vn 4T1d 6xuE khEg gEg 5rC 4eE2 28Cc e9E
6aE 45E5 1adK E3 1E2 5E4 K4 1K3 1Kt 2E3 4I 4lE2 fxE4 1tE5 8tE2 uE5 wEg 1yEb 1dE4 3eS E S 1hEf 15E 2E2 aE3 S 19S3
E4 S2 E2 2P 4E aP 1eE3 K10 E5 S E6 I E fK S2 K 17E cE2 S 1cS3 E9 S E 1P2 5E4 1S E 2kS3 E3 S2 E4 6E 2E 4dE S3 E8
lE2 S2 1jE2 1E S E S4 2S2 2S2 E 9E aS2 2E7 3E5 bKa 1K 2K 1K12 2E S2 E6 1E 2E 1E3 S 1S2 E2 I P E eE2 2aS3 E8 S2
E3 S E nE 29E S2 E6 S E S2 E S E2 S E2 6jE S2 E4 2S4 E2 S E2 rE2 2aS3 E8 S2 E S E2 2yE S E S2 E8 2tE S E 2E4 S
E5 74S3 E9 S E2 5hK7 2K 2K8 1K2 1Ko E S5 1S2 2E3 I P S P S E 3xS3 E4 2E2 S4 E 3S rK Ea K14 E6 S 1E4 8I 8K E6 S2
E3 K14 P6 Ed S E I 34K 2dE S E3 S E S 5jS E7 1E6 S E 2aEm 1S E7 S E2 S E2 3eE6 3E 1E2 1E7 P E 1uS5 1E2 1S2 E S E
2gE K 75E2 S2 9E2 P S Kd 1Ky S2 E5 3S2 E2 I nE 445Cg E 6Ef 8ugEc S3 E3 1xcE5 1nE7 fgV 3V4 dgE 1S1j 7E4 29E bE2
f57E2 1C4 3mkE1a 2En dcE2 1oE5 3E6 C8 E8 2E7 uE4 44E3 bE3 8E2 2E wE2 1haE1j 4E1e 8E eE mE5 1Ef 11sE7 1Eh 2E7 1E2
1E5 2sE 4gE7 afE 1pE4 e4E4 72E2 6rE 2E 7E2 5E d6E7 31E7 1btX 13X4 2sXc fX2 fX eX2 11Xa 34X2 cX2 eX 2Xa kX1j Gq
1Xf aX kX 2X9 1X4 9Xn 6X58 2X34 2X2 1X3 2X2b 2X3 1X4 E5 X72 1X1r bX6 1Xo 7X2 2X8 cX 2X4 2X 4X2 dX2 2X 8X2 9X 5X3
cX3 8X3 2X 1X 4X 6X 3X 6X2e 1cX1y 5X8 2Xh 3X 1X6 2Xd 64Xl rX4 1kX8 aX6 14X8 uX2 cX4 2Xe 9X13 cX1b 1Xa 1X55 2gX8
eX42 74Xse guteCw E2o C3k E6o C2s0
"""
HANGUL, SYLLABLES, LEADING = 0xAC00, 11172, 28

CLUSTER = re.compile(
    "RN|[RNC]"
    "|P*(?:L*(?:V+|AV*|B)T*|L+|T+|GG|X(?:[EIM]*ZX)*|K(?:[EZI]*I[EZI]*K)+|[^RNC])[EIMZS]*")


@cache
def table() -> str:
    """The class of every character, by its number."""
    parts, at = [], 0
    for gap, kind, length in re.findall(r"([0-9a-z]*)([A-Z])([0-9a-z]*)", RUNS):
        skipped, many = int(gap or "0", 36), int(length or "1", 36)
        parts.append("O" * skipped + kind * many)
        at += skipped + many
    whole = "".join(parts) + "O" * (0x110000 - at)
    hangul = ("A" + "B" * (LEADING - 1)) * (SYLLABLES // LEADING)
    return whole[:HANGUL] + hangul + whole[HANGUL + SYLLABLES:]


def classes(text: str) -> str:
    """The text as a string of classes, on which `CLUSTER` matches one cluster."""
    known = table()
    return "".join([known[ord(c)] for c in text])
