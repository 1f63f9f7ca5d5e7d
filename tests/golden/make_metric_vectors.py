#!/usr/bin/env python3
"""Writes metric_vectors.json: what rouge_score, NLTK and scipy say about made-up inputs.

    python3 -m venv V && V/bin/pip install rouge-score==0.1.2 nltk==3.10.4 scipy==1.17.1
    V/bin/python tests/golden/make_metric_vectors.py tests/golden/metric_vectors.json

The same seed gives the same file. All words and sentences are made here.
"""

import fractions
import json
import math
import random
import sys
import warnings

import numpy
import scipy.stats
from nltk.stem import porter
from rouge_score import rouge_scorer

# Stems of different measure and ending, and every suffix that some rule of the stemmer names.
ROOTS = """b tr tree y by trouble oat ivy private oaten orrery fl sk t d l hop fil fail hiss fizz fall tann
plaster motor conflat troubl siz agr f bl sing relat condition ration valenc hesitanc digit conform radic
vil analog vietnam predic oper feud decis hope callous formal sensit sensib triplic form electr good reviv
allow infer airlin gyroscop adjust defens irrit replac depend adopt commun activ angul homolog effect
bowdler prob r ceas contro ro geo theo philo archaeo enjoy happ spy tr1 x2 3d yy syzyg toy joy play obey
employ say boy appl bib awf care use fu ski wh ow ax box fix bow quiz gener univers organ nation""".split()
SUFFIXES = """s es ies sses ss ied ed eed ing y ying ational tional enci anci izer bli abli alli entli eli ousli
ization ation ator alism iveness fulness ousness aliti iviti biliti fulli logi icate ative alize iciti ical
ful ness al ance ence er ic able ible ant ement ment ent sion tion ion ou ism ate iti ous ive ize e ll lle
ally ably ility fully logy edly ingly nesses ations izers izing ized ating ated bling bled""".split()
IRREGULAR = """sky skies dying lying tying news innings inning outings outing cannings canning howe proceed exceed
succeed dies lies ties died tied lied flies spied caresses ponies caress cats feed agreed plastered bled
motoring sing hopping tanned falling hissing fizzed failing filing happy sky relational rational valency
hesitancy controll roll rate cease probate geology theology archaeology hopefully generously aa ed ing eed
ied ies sses s y e ion ement 2nd 1990s 12ing 7eed yyyying aeiouing aedly""".split()

NOUNS = """gardener bridges stories harbours engineers violins memories committee operations university
nationalities libraries policies flowers painters awards generosity nursing happiness geologies""".split()
VERBS = """is was writing writes wrote painted paints studying studied relies relied agreed organizing
organizes conditioned hopes hoping exceeded proceeding enjoys enjoyed played""".split()
ADJECTIVES = """relational hopeful electrical sensible callous famous national rational effective quick
1990s 3rd dying lying allowable triplicate formalized digitized""".split()
GLUE = "the a of in and with to for by near".split()
ODDITIES = ["caf\u00e9", "na\u00efve", "\u00d8rsted", "\u212aelvin", "\u0130zmir", "stra\u00dfe", "\u6771\u4eac", "e\u0301t\u00e9",
            "1,200", "3.5%", "O'Brien", "mother-in-law", "C++", "U.S.A.", "\u201cquoted\u201d", "\U0001f600", "AT&T"]


def stems():
    rng = random.Random(1)
    grid = sorted({root + suffix for root in ROOTS for suffix in SUFFIXES})
    # Each suffix with a short, a middle and a long stem always; of the rest a sample.
    words = {root + suffix for suffix in SUFFIXES for root in ("t", "oat", "private", "geo")}
    words |= set(rng.sample(grid, 1100)) | set(IRREGULAR)
    words |= {"".join(rng.choice("aeiouybcdlst1") for _ in range(rng.randint(1, 9))) for _ in range(200)}
    stemmer = porter.PorterStemmer()
    # One word and its stem a string: shorter than a pair.
    return [f"{word} {stemmer.stem(word)}" for word in sorted(words)]


def sentence(rng):
    words = []
    for _ in range(rng.randint(1, 11)):
        words.append(rng.choice(rng.choice([NOUNS, VERBS, ADJECTIVES, GLUE])))
        if rng.random() < 0.12:
            words.append(rng.choice(ODDITIES))
    if rng.random() < 0.6:
        words[0] = words[0].capitalize()
    if rng.random() < 0.1:
        words = [word.upper() for word in words]
    return rng.choice([" ", " ", " ", ", ", "\n", " - "]).join(words) + rng.choice([".", "", "!", " ..."])


def change(rng, text):
    words = text.split(" ")
    for _ in range(rng.randint(0, 4)):
        i = rng.randrange(len(words))
        kind = rng.randrange(4)
        if kind == 0 and len(words) > 1:
            del words[i]
        elif kind == 1:
            words.insert(i, rng.choice(NOUNS + VERBS))
        elif kind == 2:
            j = rng.randrange(len(words))
            words[i], words[j] = words[j], words[i]
        else:
            words[i] = words[i].rstrip("s.") + rng.choice(["s", "ing", "ed", "ness"])
    return " ".join(words)


def rouge():
    rng = random.Random(2)
    pairs = [("", ""), ("a word", ""), ("", "a word"), ("...", "!?"), ("one", "one"), ("a a a b", "a b b a"),
             ("running runs ran", "run"), ("flies", "fly"), ("\u212a", "k"), ("\u0130x", "i x")]
    while len(pairs) < 260:
        target = sentence(rng)
        pairs.append((target, change(rng, target) if rng.random() < 0.75 else sentence(rng)))
    stemmed = rouge_scorer.RougeScorer(["rouge1", "rougeL"], use_stemmer=True)
    plain = rouge_scorer.RougeScorer(["rouge1", "rougeL"], use_stemmer=False)
    rows = []
    for target, prediction in pairs:
        with_stems = stemmed.score(target, prediction)
        without = plain.score(target, prediction)
        rows.append({
            "target": target,
            "prediction": prediction,
            "rouge1": [round(float(x), 12) for x in with_stems["rouge1"]],
            "rougeL": [round(float(x), 12) for x in with_stems["rougeL"]],
            "plain_recall": [round(float(without[name].recall), 12) for name in ("rouge1", "rougeL")],
        })
    return rows


def exact_p(first, second):
    """The p-value by counting lattice paths in integers, to hold scipy's against."""
    m, n = len(first), len(second)
    bound = max(abs(sum(x <= v for x in first) * n - sum(x <= v for x in second) * m)
                for v in first + second)
    if bound == 0:
        return 1.0
    column = []
    for i in range(m + 1):
        previous, column = column, []
        for j in range(n + 1):
            paths = 1 if i == j == 0 else (previous[j] if i else 0) + (column[j - 1] if j else 0)
            column.append(0 if abs(i * n - j * m) >= bound else paths)
    return float(1 - fractions.Fraction(column[n], math.comb(m + n, n)))


def formula(count, multiplier, modulus, shift):
    return [(i * multiplier) % modulus + shift for i in range(count)]


def kolmogorov_smirnov():
    rng = random.Random(3)
    cases = []

    def add(first, second, stored):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = scipy.stats.ks_2samp(numpy.array(first), numpy.array(second), method="exact")
        counted = exact_p(first, second)
        fell_back = any("Switching" in str(warning.message) for warning in caught)
        if not fell_back:
            assert math.isclose(result.pvalue, counted, rel_tol=1e-9), (stored, result.pvalue, counted)
        stored["statistic"] = float(result.statistic)
        stored["p_value"] = counted if fell_back else float(result.pvalue)
        stored["source"] = "counted" if fell_back else "scipy"
        cases.append(stored)

    for m, n in [(1, 1), (1, 2), (1, 7), (2, 2), (3, 3), (3, 5), (5, 8), (10, 10), (12, 18), (7, 20), (20, 20)]:
        for ties in (False, True):
            for shift in (0.0, 0.5):
                draw = (lambda: float(rng.randint(0, 4))) if ties else (lambda: round(rng.random(), 3))
                first = [draw() for _ in range(m)]
                second = [draw() + (shift * 4 if ties else shift) for _ in range(n)]
                second = [round(value, 3) for value in second]
                add(first, second, {"first": first, "second": second})
    add([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], {"first": [1.0, 2.0, 3.0], "second": [1.0, 2.0, 3.0]})
    # Large samples are given by (count, multiplier, modulus, shift): value i is i * multiplier % modulus + shift.
    for first, second in [
            ((100, 37, 101, 0), (100, 41, 101, 12)), ((300, 577, 1009, 0), (300, 311, 1009, 400)),
            ((400, 577, 1009, 0), (400, 311, 1009, 60)), ((400, 577, 1009, 0), (400, 311, 1009, 0)),
            ((400, 7, 401, 0), (400, 7, 401, 500)), ((400, 577, 1009, 0), (300, 311, 1009, 90)),
            ((137, 29, 211, 0), (251, 31, 211, 25)), ((40, 29, 50, 0), (400, 31, 50, 7)),
            ((300, 7, 20, 0), (360, 3, 20, 2)), ((211, 13, 223, 0), (223, 17, 227, 300))]:
        add(formula(*first), formula(*second), {"first_formula": first, "second_formula": second})
    return cases


def main():
    vectors = {"stems": stems(), "rouge": rouge(), "ks_test": kolmogorov_smirnov()}
    lines = []
    for name, rows in vectors.items():
        body = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
        lines.append(f'"{name}": [\n{body}\n]')
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        file.write("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
