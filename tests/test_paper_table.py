"""What the paper profile takes texts for: one table, to be read as its specification, clause by clause.

Each block is one clause and a subtype that it decides. A line is `text -> value`; in the text \\n and \\uXXXX are
escapes and ␣ is a space; the value is yes, no, dropped, or a literal: "no" in quotes is another value than no.
"""

import ast
import re

import pytest

from urbanvlm.evaluate.paper import NO, YES, paper_value

CHOICE, MORE = "negation.exclusion_choice", "multi_hop.which_is_more"
CLOSEST, TOP = "depth.closest_object", "segmentation.vertical_layout.entity"
SHARE, COUNT = "viewfactor.scalar", "count"
DEPTH, LAYOUT = "depth.range.label", "spatial.distribution.label"
PRESENCE, ABSENCE = "presence.binary", "negation.absence"

# The first blocks ask for a choice, because that shows a text as it was cleaned, where it names no class.
TABLE = {
    ("cleaning: white space, then lower case", CHOICE): r"""
        ␣␣Red\tRoof\n here -> "red roof here"
        RED ROOF -> "red roof"
        red\u00a0\u3000roof -> "red roof"
        red\u200broof -> "red\u200broof"
        \ufeffroof -> "\ufeffroof"
        \u212aite -> "kite"
        \u0130ron -> "i\u0307ron"
        l\u0131ne -> "l\u0131ne"
    """,
    ("cleaning: pairs of chat markers", CHOICE): r"""
        ### Human: which? ### Assistant: roof -> "roof"
        ###human: which?###assistant:Roof -> "roof"
        ### HUMAN: first\nsecond\n### ASSISTANT:\n roof -> "roof"
        ###\n\nHuman: which? ###\u00a0Assistant: roof -> "roof"
        so ### Human: which? ### Assistant: roof -> "roof"
        ### Human: q ### Assistant: wall ### Human: q ### Assistant: roof -> "roof"
        ### Human: q ### Human: q ### Assistant: wall ### Assistant: roof -> "wall ### assistant: roof"
        ### Human: q ### Assistant: roof ### Human: more -> "roof ### human: more"
        ### Assistant: wall ### Human: q ### Assistant: roof -> "roof"
        ### Assistant: roof -> "### assistant: roof"
        ### Human: roof -> "### human: roof"
        ## Human: q ### Assistant: roof -> "## human: q ### assistant: roof"
        #### Human: q #### Assistant: roof -> "roof"
        ### Human : q ### Assistant: roof -> "### human : q ### assistant: roof"
        ### Human: q ### Ass\u0130stant: roof -> "roof"
        ### Human: q ### Ass\u0131stant: roof -> "roof"
        ### Human: q ### A\u017fsistant: roof -> "roof"
        ### Human: q ### Assistant: assistant: roof -> "roof"
        ### Human: q ### Assistant: -> no
    """,
    ("cleaning: one leading assistant", CHOICE): r"""
        Assistant: roof -> "roof"
        ␣ASSISTANT:␣␣\n roof -> "roof"
        assistant:roof -> "roof"
        assistant: assistant: roof -> "assistant: roof"
        assistant : roof -> "assistant : roof"
        the assistant: roof -> "the assistant: roof"
        *assistant: roof -> "assistant: roof"
    """,
    ("cleaning: a fenced text is empty", CHOICE): r"""
        ```roof``` -> no
        ```\nroof\n``` -> no
        ```roof``` wall ```roof``` -> no
        `````` -> no
        ````` -> no
        ```roof -> "roof"
        ``roof`` -> "roof"
        ```roof```. -> "roof."
        assistant: ```roof``` -> no
        > ```roof``` -> "roof"
        *```roof```* -> "roof"
    """,
    ("cleaning: leading quote marks, once", CHOICE): r"""
        > roof -> "roof"
        >roof -> "roof"
        >>> roof -> "roof"
        > > roof -> "> roof"
        > red\n> roof -> "red > roof"
        *> roof -> "> roof"
        >*> roof -> "> roof"
        > assistant: roof -> "assistant: roof"
        assistant: > roof -> "roof"
    """,
    ("cleaning: marks", CHOICE): r"""
        **Red** _ro*o*f_ -> "red roof"
        `roof` -> "roof"
        red_roof -> "redroof"
        red * roof -> "red roof"
        *** -> no
        _␣` -> no
        > -> no
        assistant: -> no
    """,
    ("empty after cleaning, other groups", CLOSEST): r"""
        *** -> dropped
        ```car``` -> dropped
        > -> dropped
    """,
    ("empty after cleaning, other groups", SHARE): r"""
        ** -> dropped
    """,
    ("empty after cleaning, other groups", COUNT): r"""
        ```3``` -> dropped
    """,
    ("empty after cleaning, other groups", DEPTH): r"""
        _ -> dropped
    """,
    ("empty after cleaning, other groups", LAYOUT): r"""
        assistant: -> dropped
    """,
    ("empty after cleaning, yes/no", PRESENCE): r"""
        *** -> no
        ```yes``` -> no
    """,
    ("blank", CHOICE): r"""
        ␣ -> no
    """,
    ("blank", CLOSEST): r"""
        \n\t -> "unknown"
    """,
    ("blank", SHARE): r"""
        ␣ -> 0
    """,
    ("blank", COUNT): r"""
        \u00a0 -> 0
    """,
    ("blank", DEPTH): r"""
        ␣ -> "unknown"
    """,
    ("blank", LAYOUT): r"""
        ␣ -> "other"
    """,
    ("blank", PRESENCE): r"""
        ␣ -> no
    """,
    ("a choice: letter words behind answer", CHOICE): r"""
        Answer: tree -> "greenery"
        Answer: tree. No car. -> "greenery"
        Answer: the tree -> "the tree"
        Answer: tree is absent -> "tree is absent"
        answer-bench -> "bench"
        Answer:\n\nbush -> "greenery"
        myanswer: bush -> "greenery"
        Answer: car2 -> "vehicle"
        Answer: caf\u00e9 -> "caf"
        Answer: 3 cars. My answer: people -> "person"
        Answer: red. Answer: tree -> "red"
        answer: answer: bush -> "answer"
        Answer : bush -> "answer : bush"
        Answer is: bush -> "answer is: bush"
        Answers: bush -> "answers: bush"
        Answer: (bush) -> "answer: (bush)"
        Answer:: bush -> "answer:: bush"
        Answer:\u200bbush -> "answer:\u200bbush"
        answer: bu\u017f -> "bu\u017f"
        an\u017fwer: b\u0131ke, car -> "b\u0131ke"
        Answer: no -> "no"
    """,
    ("a choice: the last token of the list", CHOICE): r"""
        a car and a tree -> "greenery"
        a tree and a car -> "vehicle"
        a skateboard, clock and sheep -> "sheep"
        bench or clock! -> "bench"
        The answers: tree and car. -> "greenery"
        neither truck nor Bus -> "vehicle"
        a person here -> "person"
    """,
    ("a choice: else the whole text", CHOICE): r"""
        trees -> "greenery"
        buildings -> "building"
        the bushes -> "the bushes"
        tree, bench. -> "tree, bench."
        Yes -> "yes"
        No. -> "no."
    """,
    ("a choice", MORE): r"""
        Answer: cars -> "vehicle"
        more people than cars -> "vehicle"
        People -> "person"
        People. -> "people."
        ** -> no
    """,
    ("a class: behind answer, less its article", CLOSEST): r"""
        Answer: the car -> "vehicle"
        Answer: a tree -> "greenery"
        Answer: an -> "an"
        Answer: an office -> "building"
        Answer: the. -> "the"
        Answer: the 3 -> "the"
        Answer: a the car -> "the car"
        Answer: fire hydrant, red -> "fire hydrant"
        answer-truck -> "vehicle"
        Answer: 3. Answer: car -> "vehicle"
        The bus is closest. Answer: tree -> "greenery"
    """,
    ("a class: cut before what begins like a predicate", CLOSEST): r"""
        Answer: car is closest -> "vehicle"
        Answer: red island -> "red"
        Answer: island -> "island"
        Answer: the island -> "island"
        Answer: the island is -> "island"
        Answer: is it a car -> "is it a car"
        Answer: the is near -> "is near"
        Answer: traffic area -> "traffic"
        Answer: sleepy wasp -> "sleepy"
        Answer: cars weren't here -> "vehicle"
        Answer: it appears near -> "it"
        Answer: cars appear near -> "cars appear near"
        Answer: bus seems near -> "vehicle"
        Answer: trees seem near -> "trees seem near"
    """,
    ("a class: what is closest", CLOSEST): r"""
        The car is the closest object. -> "vehicle"
        A big red bus is closest -> "big red bus"
        Well, the truck appears closest -> "vehicle"
        trees seems the closest -> "greenery"
        the person was closest to me -> "person"
        tree is the closestish -> "greenery"
        It's a van is closest -> "s a van"
        the is closest -> "the"
        is closest -> "unknown"
        car, is closest -> "car,"
        well, is closest, a bus is closest -> "vehicle"
        car is near and a bus is closest -> "car is near and a bus"
        a car is closest and a bus is closest -> "vehicle"
        2 \u0430\u0432\u0442\u043e is closest -> "2 \u0430\u0432\u0442\u043e"
        cars are closest -> "vehicle"
        the car is very closest -> "very"
        bike is the the closest -> "bike"
        car isclosest -> "isclosest"
        Answer: 3 cars, the bus is closest -> "vehicle"
    """,
    ("a class: any words behind answer and a colon", CLOSEST): r"""
        Answer: 3 cars -> "3 cars"
        Answer: 3 cars are near. -> "3 cars are near"
        answer:3 the car -> "3 the car"
        answer-3 cars -> "vehicle"
        Answer: \u0430\u0432\u0442\u043e\u0431\u0443\u0441 -> "\u0430\u0432\u0442\u043e\u0431\u0443\u0441"
        Answer: \u00e9cole car -> "\u00e9cole car"
    """,
    ("a class: a token from the end", CLOSEST): r"""
        I see a tree -> "greenery"
        tree. -> "tree."
        the car in the foreground -> "vehicle"
        buses at the camera -> "vehicle"
        it is in the background light -> "unknown"
        I'm looking at one -> "unknown"
        ok -> "unknown"
        ok! -> "ok!"
        what is that? -> "that?"
        \u200b -> "unknown"
    """,
    ("the merge is of the whole string", TOP): r"""
        Building -> "building"
        skyscrapers -> "building"
        sky -> "sky"
        forest -> "greenery"
        forests -> "forests"
        Answer: office buildings -> "office buildings"
        children -> "person"
        vans -> "vehicle"
    """,
    ("a scalar: the first decimal number", SHARE): r"""
        0.35 -> 0.35
        Answer: about .5 -> 0.5
        -.5 -> -0.5
        +0.25 -> 0.25
        - 0.5 -> 0.5
        --0.5 -> -0.5
        \u22120.5 -> 0.5
        1 or 0.4 -> 0.4
        1,000.5 -> 0.5
        1.2.3 -> 1.2
        5-3.2 -> -3.2
        x3.5y -> 3.5
        0.*5* -> 0.5
        2.5e3 -> 2.5
        \u0660.\u0663 -> 0.3
        .\u0665 -> 0.5
        0.3 and not. Answer: 0.7 -> 0.3
        > 0.5 -> 0.5
    """,
    ("a scalar: else the first integer, else 0", SHARE): r"""
        35% -> 35
        12. -> 12
        1.-5 -> 1
        10-15 -> 10
        7,5 -> 7
        -3 -> -3
        +3 -> 3
        1e5 -> 1
        1_000 -> 1000
        \u0663 -> 3
        \u00b2 -> 0
        one -> 0
        0 to 1 -> 0
    """,
    ("a scalar: beyond a thousand is 0", SHARE): r"""
        1000 -> 1000
        1000.0 -> 1000
        1000.5 -> 0
        1001 -> 0
        -1000 -> -1000
        -1001 -> 0
        9999 or 0.2 -> 0.2
        9999 or 2 -> 0
        2000.5 or 0.2 -> 0
    """,
    ("a number: a range from 0 to 1", COUNT): r"""
        0 to 1 -> 0.5
        from 10 to 15 -> 0.5
        0-1 -> 0.5
        10-12 -> 0.5
        zero, 0-1 -> 0.5
        0 - 1 -> 0
        1-2 -> 1
    """,
    ("a number: the first word that is a part, in their order", COUNT): r"""
        None -> 0
        zero of 5 -> 0
        there is one -> 1
        someone -> 1
        phone 7 -> 1
        twenty-one -> 1
        three or one -> 1
        1 or two -> 2
        network -> 2
        three -> 3
        fourteen -> 4
        five -> 5
        sixty -> 6
        seventeen -> 7
        weight -> 8
        nine -> 9
        often -> 10
        a couple of cars -> 2
        couple -> 2
        a few cars -> 3
        few -> 3
        several -> 4
        some cars -> 4
        handsome -> 4
        many -> 6
        a lot of cars -> 8
        half a dozen -> 6
        dozens -> 12
        a hundred -> 100
        a few hundred -> 3
    """,
    ("a number: else as a scalar", COUNT): r"""
        12 cars -> 12
        3.5 or 2 -> 3.5
        2 or 3.5 -> 3.5
        lots -> 0
        eleven -> 0
        twenty -> 0
        1,200 -> 1
        1200 -> 0
        -3 -> -3
        \u0663 cars -> 3
        \u00b2 -> 0
        \u2460 -> 0
    """,
    ("a depth label: by the initial behind answer", DEPTH): r"""
        Answer: high -> "high"
        Answer: hmm, low -> "high"
        answer-m -> "moderate"
        Answer: medium -> "moderate"
        Answer: little -> "low"
        Answer: lofty and high -> "low"
        Answer: low complexity -> "low"
        Answer: (low) answer: high -> "high"
    """,
    ("a depth label: by parts of the text", DEPTH): r"""
        Answer: the high one -> "high"
        Answer: 3 low. Answer: high -> "low"
        Complexity is low -> "high"
        an extensive depth -> "high"
        insubstantial -> "high"
        significant but flat -> "high"
        varied, on average -> "high"
        medium, simple -> "moderate"
        moderately high -> "moderate"
        on average low -> "moderate"
        awesome -> "moderate"
        it is simple -> "low"
        flat -> "low"
        a minimal range, not high -> "low"
        a little -> "low"
    """,
    ("a depth label: by a label", DEPTH): r"""
        high or low -> "low"
        low or high -> "low"
        yellow -> "low"
        very high -> "high"
        deep -> "unknown"
        Yes -> "unknown"
    """,
    ("a layout label: words behind answer", LAYOUT): r"""
        Answer: left side -> "left side"
        Answer: left and evenly spread -> "even"
        Answer: left and right -> "left side"
        Answer: right in the middle -> "right side"
        Answer: in the seventh -> "even"
        Answer: centre. Not left. -> "even"
        Answer: center, left -> "even"
        answer-both, left -> "even"
        Answer: middle, left -> "even"
        Answer: 2 on the right, left -> "right side"
    """,
    ("a layout label: else the whole text", LAYOUT): r"""
        Answer: unsure. Right. -> "right side"
        Answer: unsure. Answer: right, not left -> "left side"
        evenly on the left -> "left side"
        right and even -> "right side"
        evenly spread -> "even"
        in the centre -> "even"
        at the center -> "even"
        both -> "even"
        in the middle -> "even"
        bright -> "right side"
        Yes -> "other"
        No -> "other"
    """,
    ("yes/no: the last whole word", PRESENCE): r"""
        Yes -> yes
        No. -> no
        Yes. No -> no
        No, wait: yes! -> yes
        yes/no -> no
        no/yes -> yes
        Answer: yes. There is no bus. -> no
        **Yes** -> yes
        yes, it is absent -> yes
        true, no-one -> no
        visible, no\u0301 -> no
        yes\u0661 -> no
        \u00e9yes -> no
        noyes -> no
        \uff59\uff45\uff53 -> no
        true, nobody -> yes
        true, no\u0661 -> yes
    """,
    ("yes/no: how the word behind answer begins", PRESENCE): r"""
        Answer: yesterday -> yes
        answer-yesss -> yes
        Answer: not visible -> no
        Answer: none, that is true -> no
        Answer: nothing is present -> no
        Answer: notable and visible -> no
        Answer: maybe. Answer: yesss -> yes
        answer: ye\u017f -> no
        answer: ye\u017f, true -> no
        an\u017fwer: yesss -> yes
        Answer: yeah -> no
    """,
    ("yes/no: affirming words, then denying ones", PRESENCE): r"""
        true -> yes
        That's correct! -> yes
        it is present -> yes
        not visible -> yes
        it contains cars -> yes
        absent, but visible -> yes
        untrue -> no
        presently -> no
        contain -> no
        false -> no
        incorrect -> no
        a car -> no
        \u200b -> no
    """,
    ("yes/no in a negation: denying words before classes", ABSENCE): r"""
        Answer: tree, false -> no
        Answer: it is incorrect -> no
        Answer: cars are absent -> no
        cars: none. Answer: tree -> no
        Answer: zero cars -> no
        Answer: cars. Yes. -> yes
        Answer: cars, visible -> yes
    """,
    ("yes/no in a negation: classes behind answer", ABSENCE): r"""
        Answer: tree -> "greenery"
        answer-cars -> "vehicle"
        Answer: the car -> "the car"
        Answer: 2 cars. -> "2 cars"
        Answer: 0 -> "0"
        Answer: falsehood -> "falsehood"
        Answer: maybe. Answer: tree -> "maybe"
        Answer: (car) -> no
        tree -> no
    """,
    ("yes/no elsewhere: no classes", "counterfactual.count_perturbation"): r"""
        Answer: tree -> no
    """,
    ("yes/no elsewhere: no classes", "multi_hop.count_compare"): r"""
        Answer: people -> no
    """,
    ("yes/no: the words of a depth range decide nothing", "depth.range"): r"""
        Complex -> no
        Simple -> no
    """,
    ("a paraphrase is read as what it rephrases", f"paraphrase.from_{CHOICE}"): r"""
        the tree, answer: the car -> "the car"
    """,
    ("a paraphrase is read as what it rephrases", f"paraphrase.from_{ABSENCE}"): r"""
        Answer: cars -> "vehicle"
    """,
    ("no group", "weather"): r"""
        Yes -> dropped
        ␣ -> dropped
    """,
    ("no group", "paraphrase.from_paraphrase.from_count"): r"""
        3 -> dropped
    """,
}


def cases():
    for (clause, subtype), block in TABLE.items():
        for line in block.strip().splitlines():
            text, arrow, value = line.strip().rpartition(" -> ")
            assert arrow, line
            yield pytest.param(unescaped(text), subtype, expected(value), id=f"{clause}: {line.strip()}")


def unescaped(text):
    text = re.sub(r"\\u([0-9a-f]{4})", lambda found: chr(int(found[1], 16)), text)
    return text.replace(r"\n", "\n").replace(r"\t", "\t").replace("␣", " ")


def expected(value):
    names = {"yes": YES, "no": NO, "dropped": None}
    return names[value] if value in names else ast.literal_eval(value)


@pytest.mark.parametrize(("text", "subtype", "value"), list(cases()))
def test_the_table(text, subtype, value):
    assert paper_value(text, subtype) == value


def test_the_table_is_large():
    assert sum(len(block.strip().splitlines()) for block in TABLE.values()) >= 380
