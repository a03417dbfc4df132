"""What the strict profile reads from texts: one table, to be read as its specification.

Each block is for one subtype. A line is `text -> value`; the value `?` is unparsed, \\n a line break and ␣ a space.
"""

import pytest

from urbanvlm.dataset.taxonomy import SUBTYPES
from urbanvlm.evaluate.parse import MISSING, UNPARSED, Parsed, parse_answer

TABLE = {
    "presence.binary": r"""
        Yes -> yes
        no -> no
        YES! -> yes
        ␣no. -> no
        Yes, there is a car. -> yes
        No, there are none -> no
        yes yes yes yes -> yes
        no no no -> no
        nope -> no
        Yeah -> yes
        y -> yes
        n -> no
        yes? -> yes
        ｙｅｓ -> yes
        **Yes** -> yes
        "Yes" -> yes
        Answer: yes -> yes
        Answer: No -> no
        The answer is yes. -> yes
        the answer is: no -> no
        Final Answer - yes -> yes
        {"answer": "no"} -> no
        Answer: yes. Answer: no -> no
        Answer: yes Answer: yes Answer: -> yes
        Answer: -> ?
        No people are near. There is a road.\nAnswer: yes -> yes
        There is no bus here, only cars.\nAnswer: No\n\nQuestion: Is there a bench? -> no
        Answer:\nYes -> yes
        Answer: Let me think.\nThere are no cars. -> no
        There is a bus. -> yes
        There are cars on the road -> yes
        there's one -> yes
        A car is visible in the foreground. -> yes
        I can see a car. -> yes
        The image contains a car -> yes
        There is no bus in the image. -> no
        There isn't any. -> no
        there isnt any car -> no
        There aren't any cars here -> no
        No cars are visible. -> no
        no cars -> no
        not visible -> no
        The car is not visible. -> no
        I don't see any car -> no
        I cannot see a car. -> no
        none -> no
        The scene lacks cars -> no
        a street without cars -> no
        Cars are absent. -> no
        it is -> yes
        It is not -> no
        they are not -> no
        Probably yes -> yes
        Maybe, yes -> yes
        I think no -> no
        Probably not. -> no
        definitely not -> no
        I don't think so -> no
        I think so -> yes
        definitely -> yes
        No doubt, yes -> yes
        true -> yes
        false -> no
        That is correct. -> yes
        that is not true -> no
        maybe -> ?
        I cannot tell -> ?
        I can't tell if there is a car -> ?
        I am not sure -> ?
        It is unclear whether there is a car. -> ?
        It's impossible to say -> ?
        I'm not sure, but I think yes -> yes
        no idea -> ?
        no answer -> ?
        n/a -> ?
        yes or no -> ?
        Yes/No -> ?
        yes and no -> ?
        Yes. No. -> ?
        no, wait, yes -> ?
        Yes, there is no bus. -> ?
        No, there is only a truck. -> no
        Yes, there is a car, but there are no trees. -> yes
        Answer yes or no. -> ?
        Is there a car in the image? -> ?
        Is there a car in the image? Yes -> yes
        Question: Is there a car in the image? Answer yes or no. -> ?
        USER: Is there no car here? Answer yes or no. ASSISTANT: Yes -> yes
        ### Human: Is there a car? ### Assistant: no -> no
        Options: yes or no. No -> no
        ␣␣ -> ?
        . -> ?
        <pad><pad> -> ?
        almost no cars are visible -> ?
        Yes, but it isn't fully visible. -> yes
        There may be a car -> yes
        a car -> ?
        yesterday -> ?
        nobody knows -> ?
        Nothing -> no
        sí -> ?
        oui -> ?
        nein -> ?
        ja -> ?
        нет -> ?
        はい -> ?
        não -> ?
        7 -> ?
    """,
    "negation.absence": r"""
        Yes -> yes
        No. -> no
        There is no bus. -> yes
        No bus is visible -> yes
        no bus -> yes
        There isn't any -> yes
        There is a bus. -> no
        A bus is visible. -> no
        Yes, there is no bus. -> yes
        No, there is a bus -> no
        Yes, there is a bus -> ?
        No, there is no bus. -> ?
        Is there no bus in the scene? -> ?
        Is there no bus in the scene? Yes -> yes
        it is -> ?
        none -> yes
        I cannot tell -> ?
    """,
    "negation.conjunction": r"""
        Yes, it is wrong. -> yes
        It is incorrect to say that -> yes
        It is not wrong to say so -> no
        It is correct to say so -> no
        wrong -> ?
        correct -> ?
        It would be wrong to call it green and open, as there are no trees -> yes
        No -> no
    """,
    "object.cooccurrence": r"""
        There are cars and people. -> yes
        There is a car but no person -> no
        no -> no
    """,
    "viewfactor.dominance": r"""
        No trees block the view -> ?
        The sky dominates the scene. -> yes
        it is not dominated by sky -> no
        No, the buildings dominate -> no
        There is sky -> ?
    """,
    "viewfactor.sparsity": r"""
        The greenery is sparse -> yes
        It is not sparse -> no
        The greenery is dense. -> no
        not dense -> ?
        Yes, sparse -> yes
    """,
    "depth.range": r"""
        Complex -> yes
        simple -> no
        The scene is not complex -> no
        complex or simple -> ?
        Yes -> yes
    """,
    "spatial.distribution": r"""
        On the left -> yes
        They are on the right side -> no
        not on the left -> no
        not on the right -> ?
        on both sides -> no
        No, on the right -> no
    """,
    "count": r"""
        3 -> 3
        0 -> 0
        zero -> 0
        three -> 3
        Twelve. -> 12
        twenty-five -> 25
        twenty five cars -> 25
        There are 3 cars. -> 3
        3 3 3 3 -> 3
        I count 4 (four) cars -> 4
        a dozen -> 12
        two dozen cars -> 24
        half a dozen -> 6
        a couple of cars -> 2
        about 5 -> 5
        ~5 -> 5
        1,204 -> 1204
        3.0 -> 3
        no cars -> 0
        No cars are visible. -> 0
        There aren't any -> 0
        none -> 0
        not visible -> 0
        I cannot see any cars. -> 0
        no -> ?
        yes -> ?
        cars -> ?
        several -> ?
        a few -> ?
        many cars -> ?
        10-15 -> 12.5
        10 to 14 cars -> 12
        between 4 and 6 -> 5
        10–15 -> 12.5
        15-10 -> ?
        5 or 6 -> ?
        more than 10 -> ?
        at least 3 -> ?
        >5 -> ?
        no more than 3 -> ?
        not 3 -> ?
        2 cars on the left and 3 on the right -> ?
        There are no cars but 2 trucks. -> ?
        3 cars, one of which is red -> 3
        there is one -> 1
        one -> 1
        a single car -> 1
        Answer with a single number. -> ?
        almost none -> ?
        one of the cars is red -> ?
        Answer with one number. -> ?
        2.5 -> ?
        3,5 -> ?
        -2 -> ?
        5² -> ?
        ½ -> ?
        ③ -> ?
        ３ -> 3
        1,2,3 -> ?
        1, 2, 3 -> ?
        3/4 -> ?
        the 2nd car -> ?
        1. There are three cars -> 3
        2) There are three cars -> 3
        3. -> 3
        I see 3 cars, the nearest 12.5 m away -> 3
        35 % -> ?
        99999999999999999999 -> ?
        There is no exact number -> ?
        I cannot count them -> ?
        How many cars are there? 3 -> 3
        First 2, then 3 more.\nAnswer: 5 -> 5
        Answer: 5 cars\nThere are 2 more behind. -> 5
        nothing -> 0
    """,
    "viewfactor.scalar": r"""
        0.35 -> 0.35
        .35 -> 0.35
        0,35 -> 0.35
        0,350 -> 0.35
        35 % -> 0.35
        35% -> 0.35
        35 percent -> 0.35
        35 per cent of the image -> 0.35
        ３５％ -> 0.35
        thirty-five percent -> 0.35
        about 0.4 of the pixels -> 0.4
        0.35 (35%) -> 0.35
        1 -> 1
        1.0 -> 1
        100% -> 1
        0 -> 0
        half -> 0.5
        less than half -> ?
        more than a third -> ?
        almost no sky -> ?
        a third of the image -> 0.333333333
        two thirds -> 0.666666667
        a quarter -> 0.25
        1/4 -> 0.25
        3 out of 10 -> 0.3
        10-20 % -> 0.15
        10% to 20% -> 0.15
        0.1 - 0.3 -> 0.2
        between 0.2 and 0.4 -> 0.3
        35 -> ?
        1.5 -> ?
        -0.2 -> ?
        120% -> ?
        less than 0.1 -> ?
        0.2 or 0.3 -> ?
        a number between 0 and 1 -> ?
        On a scale from 0 to 1, it is 0.3 -> 0.3
        no sky is visible -> 0
        none -> 0
        no -> ?
        low -> ?
        Sky 0.2, building 0.5. -> ?
        Sky 0.2, building 0.5. Answer: 0.5 -> 0.5
        1e-1 -> 0.1
        1e999 -> ?
    """,
    "depth.average_per_object": r"""
        12.5 -> 12.5
        12.5 m -> 12.5
        12.5m -> 12.5
        12,5 metres -> 12.5
        1250 cm -> 12.5
        0.1 km -> 100
        10 feet -> 3.048
        about 12 meters away -> 12
        10-15 m -> 12.5
        from 10 to 20 metres -> 15
        twelve meters -> 12
        more than 20 m -> ?
        20 % -> ?
        none -> ?
        far -> ?
        image_12 -> ?
    """,
    "depth.closest_object": r"""
        car -> car
        a car -> car
        The car. -> car
        cars -> car
        Pedestrian -> person
        people -> person
        vegetation -> tree
        traffic light -> traffic light
        Traffic-lights -> traffic light
        traffic_light -> traffic light
        stop sign -> stop sign
        car car car -> car
        The closest object is a bus. -> bus
        The closest object to the camera is the person. -> person
        The person in front of the car -> person
        The car on the road -> car
        the bus is closer than the truck -> bus
        not the car but the bus -> bus
        The bus, not the car -> bus
        The nearest object is the bench. A tree stands behind it. -> bench
        car, bus, or person -> ?
        Among car, bus, and person: bus -> bus
        car or bus -> ?
        car and bus -> ?
        the bus stop -> ?
        an orange car -> car
        a red object -> ?
        vehicle -> ?
        yes -> ?
        nothing -> ?
        I cannot tell -> ?
        A car is on the left and a bus on the right.\nAnswer: bus -> bus
    """,
    "segmentation.vertical_layout.entity": r"""
        Sky -> sky
        The sky is at the top of the image -> sky
        sky above the buildings -> sky
        At the top of the building is the sky -> sky
        The top is dominated by trees. -> tree
        trees -> tree
        building -> building
        The skyline -> ?
        street view -> ?
    """,
    "negation.exclusion_choice": r"""
        tree -> tree
        There is no tree. -> tree
        the tree is not present -> tree
        A car and a bench are visible, but there is no tree. -> tree
        Which of these is not present: a tree, a car, or a bench? -> ?
        Which of these is not present: a tree, a car, or a bench? bench -> bench
        a tree, a car, or a bench: the bench is missing -> bench
        There is a tree. -> ?
        no car and no bench -> ?
    """,
    "multi_hop.which_is_more": r"""
        cars -> car
        people -> person
        There are more people than cars. -> person
        fewer cars than people -> person
        cars or people -> ?
        Cars outnumber the people -> ?
        neither -> ?
    """,
    "depth.range.label": r"""
        low -> low
        Moderate -> moderate
        high. -> high
        medium -> moderate
        The depth complexity is high -> high
        high high high -> high
        low, moderate, or high -> ?
        low, moderate or high: high -> high
        (low / moderate / high) -> ?
        not high -> ?
        moderate to high -> ?
        high, not low -> high
        highly complex -> ?
        I do not know -> ?
    """,
    "spatial.distribution.label": r"""
        left -> left side
        left side -> left side
        On the left. -> left side
        on the right side of the street -> right side
        evenly spread -> evenly spread
        evenly -> evenly spread
        even -> evenly spread
        both sides -> evenly spread
        left and right -> evenly spread
        evenly on the left and right -> evenly spread
        in the middle -> evenly spread
        left side, right side, or evenly spread -> ?
        left or right -> ?
        not on the left -> ?
        more on the left than on the right -> left side
        unevenly -> ?
        Yes -> ?
    """,
}


def rows():
    for subtype, block in TABLE.items():
        for line in block.strip().split("\n"):
            text, _, value = line.strip().rpartition(" -> ")
            yield subtype, text.replace(r"\n", "\n").replace("␣", " "), value


def expected(subtype, value):
    if value == "?":
        return UNPARSED
    if SUBTYPES[subtype].answer_kind in {"integer", "share", "number"}:
        return Parsed("answer", pytest.approx(float(value)))
    return Parsed("answer", value)


@pytest.mark.parametrize(("subtype", "text", "value"), list(rows()))
def test_table(subtype, text, value):
    assert parse_answer(text, SUBTYPES[subtype]) == expected(subtype, value)


def test_an_empty_text_is_unparsed():
    assert parse_answer("", SUBTYPES["presence.binary"]) == UNPARSED


def test_no_prediction_is_missing():
    assert parse_answer(None, SUBTYPES["count"]) == MISSING
