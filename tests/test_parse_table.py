"""What the strict profile reads from texts: one table, to be read as its specification.

Each block is for one subtype. A line is `text -> value`; the value `?` is unparsed, \\n a line break and ␣ a space.
`Q: …` says what was asked from there on; before it, the question is unknown.
"""

import pytest

from urbanvlm.dataset.taxonomy import SUBTYPES
from urbanvlm.evaluate.parse import MISSING, UNPARSED, Parsed, parse_answer

TABLE = {
    "presence.binary": r"""
        There are not many cars -> ?
        There are no other cars. -> ?
        There are no more than 3 cars -> ?
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
        yes. -> yes
        ' no ' -> no
        [yes] -> yes
        <b>No</b> -> no
        <p>Yes</p><br/> -> yes
        yes</s></s> -> yes
        ```\nyes\n``` -> yes
        ```json\n{"answer": "yes"}\n``` -> yes
        {"answer": false} -> no
        {"answer": true, "confidence": 0.9} -> yes
        {"reason": "no cars", "answer": "no"} -> no
        {"answer": "yes", "reason": "no, wait"} -> yes
        {"answer": null} -> ?
        ["yes"] -> yes
        $\boxed{\text{yes}}$ -> yes
        I looked for no reason. \boxed{No} -> no
        First \boxed{no}, better \boxed{yes} -> yes
        \textbf{Yes} -> yes
        **Answer:** No -> no
        **Answer: No** -> no
        ### Answer\nNo -> no
        No people are near, I say.\n## Final answer\n\nYes -> yes
        Answer：yes -> yes
        ANSWER - NO -> no
        Ans: no -> no
        The final answer is **no**. -> no
        My answer would be yes -> yes
        Answer: [no] -> no
        Answer: 'Yes'. -> yes
        Answer: yes\nI hope this helps. No guarantee! -> yes
        Answer: yes. I could go on about the trees, the sky and the road. -> yes
        Answer: no\nAnswer: no\nAnswer: no -> no
        Answer: no. Looking again, there is one behind the tree.\nAnswer: yes -> yes
        Step 1: I look for cars. Answer: no. Step 2: I look at the road.\nFinal Answer: yes -> yes
        Yes, at first sight.\nAnswer: no -> no
        Answer: ja -> ?
        Answer: maybe -> ?
        Answer: unclear\nThe picture shows cars. -> ?
        Answer: it cannot be determined.\nThere is a car. -> ?
        Answer: yes or no -> ?
        Answer: yes/no\nNo -> no
        No cars can be seen. -> no
        no car can be seen anywhere -> no
        Not a single car is visible. -> no
        not one car -> no
        There is not a car. -> no
        There is no sign of a car. -> no
        There are no visible cars -> no
        There's no car here -> no
        I see no cars. -> no
        I see nothing. -> no
        No one is visible -> no
        No-one is there. -> no
        Nobody is there. -> no
        There are none. -> no
        none visible -> no
        The street is free of cars. -> no
        It contains neither cars nor buses. -> no
        The image does not show any car -> no
        The image does not contain a car. -> no
        It doesn't appear that there is a car -> no
        There does not appear to be a car. -> no
        There don't seem to be any cars. -> no
        I didn't see one -> no
        There is no lack of cars -> ?
        There isn't no car. -> ?
        It is not true that no cars are visible -> ?
        The car is not absent. -> ?
        not without cars -> ?
        not only cars but also buses -> ?
        None of the cars are red. -> ?
        None of the cars are visible. -> no
        few if any -> ?
        hardly any cars -> ?
        probably -> ?
        Perhaps. -> ?
        likely -> ?
        Possibly, but I can't be sure -> ?
        I think yes -> yes
        I guess not. -> no
        I believe there is a car. -> yes
        It looks like there is a car. -> yes
        There seems to be a car -> yes
        There may be a car -> ?
        There might be a car. -> ?
        Perhaps there is a car -> ?
        There could be cars -> ?
        It is hard to say. -> ?
        It is difficult to tell whether a car is there -> ?
        This cannot be determined from the image. -> ?
        The image does not provide enough information. -> ?
        I'm sorry, but I can't see the image. -> ?
        As an AI, I do not have access to images. -> ?
        There is no way to know -> ?
        yes or no: no -> no
        yes/no: yes -> yes
        (yes or no) Yes -> yes
        Should I say yes or no? I say no. -> no
        The answer is not yes -> ?
        not no -> ?
        both yes and no -> ?
        yesyesyes -> yes
        the the the the -> ?
        carcarcar -> ?
        no no no yes -> ?
        Yes\nyes\nYES -> yes
        There is a car. There is a car. There is a car. -> yes
        The image shows a quiet crossing. -> ?
        It is a sunny day. -> ?
        Yes 👍 -> yes
        👍 -> ?
        ❌ -> ?
        ✅ -> ?
        y​es -> yes
        𝐘𝐞𝐬 -> yes
        уes -> ?
        “No.” -> no
        ‘yes’ -> yes
        isn’t any -> no
        There isn’t any -> no
        ??? -> ?
        !!! -> ?
        --- -> ?
        — -> ?
        " -> ?
        () -> ?
        \boxed{} -> ?
        <image> -> ?
        <|endoftext|> -> ?
        null -> ?
        nan -> ?
        Sí, hay un coche -> ?
        Oui, il y a une voiture. -> ?
        Ja, da ist ein Auto -> ?
        да -> ?
        いいえ -> ?
        是 -> ?
        不是 -> ?
        네 -> ?
        아니요 -> ?
        evet -> ?
        hayır -> ?
        nee -> ?
        non -> ?
        si -> ?
        نعم -> ?
        לא -> ?
        known -> ?
        another -> ?
        eyes -> ?
        Norway -> ?
        noon -> ?
        [INST] Is there a car? Answer yes or no. [/INST] No -> no
        <|im_start|>user\nIs there a car?<|im_end|>\n<|im_start|>assistant\nyes<|im_end|> -> yes
        USER: Is there a car?\nAnswer yes or no. ASSISTANT: -> ?
        USER: Is there a car? ASSISTANT: No USER: Is there a bus? ASSISTANT: Yes -> no
        Yes\nUSER: Is there a bus?\nASSISTANT: No -> yes
        ASSISTANT: Yes -> yes
        ### Human: Is there no bus?\n### Assistant: -> ?
        Human: Is there a bus?\nAssistant: no. -> no
        A chat between a curious human and an assistant. USER: Is there a car? ASSISTANT: Yes -> yes
        Question: Is there a car? Short answer: no -> no
        Q: Is there a car?\nA: yes -> yes
        Is there a car? Is there a car? Is there a car? -> ?
        I doubt there is a car -> ?
        I failed to find a car -> no
        I see no evidence of a car. -> no
        I see no indication of a car -> no
        I see -> ?
        Nothing hides the car. -> ?
        None whatsoever -> no
        The car was not there -> no
        I see no car and no bus. -> no
        A car exists, I think -> yes
        Q: Is there a bus in the image?
        yes -> yes
        No -> no
        There is one. -> yes
        There are several. -> yes
        One is visible on the left -> yes
        it is visible -> yes
        There is a bus. -> yes
        There are buses and cars. -> yes
        A person gets off a bus -> ?
        I see a person on the bus. -> yes
        There is a truck. -> ?
        The image shows a quiet crossing. -> ?
        I can see a fountain. -> ?
        There is a vehicle -> ?
        There is no bus. -> no
        There is no such thing. -> no
        There are no vehicles. -> no
        No cars are visible. -> ?
        No people are on the bus. -> ?
        The bus has no passengers. -> ?
        There is no damage to the bus -> ?
        There is no obstruction. -> ?
        There are cars, but no bus. -> no
        There are cars but no people. -> ?
        There is a bus but no car. -> yes
        There is neither a bus nor a truck. -> no
        No, there is only a truck. -> no
        No, there are no buses, only a truck is visible. -> no
        No, there is a bus. -> ?
        Yes, I can see a truck. -> yes
        Yes, there is no bus. -> ?
        Is there a bus in the image? -> ?
        Is there a bus in the image? No -> no
        Is there a bus in the image? No. Is there a bus in the image? No. -> no
        Is there a bus in the image -> ?
        Is there a bus in the image yes -> yes
        The question is whether a bus is in the image. -> ?
        There are people waiting for a bus -> ?
        Something like a bus is visible -> ?
        I see no car and no bus -> no
        The bus is not moving. -> ?
        There is a bus stop but no bus -> no
        The only vehicle is a bus -> ?
        The bus is barely visible -> ?
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
        Answer: yes -> yes
        Answer: No -> no
        None are visible. -> yes
        No-one is visible. -> yes
        nothing -> yes
        Not a single bus is visible -> yes
        The bus is absent -> yes
        The bus is not absent. -> ?
        There are several buses -> no
        One is visible. -> no
        There might be a bus -> ?
        Yes yes yes -> yes
        that is correct -> ?
        Correct, there is no bus. -> yes
        absent -> yes
        present -> no
        nein -> ?
        Q: Is there no bus visible in the scene?
        Yes -> yes
        No -> no
        There is no bus. -> yes
        There are no vehicles. -> yes
        No cars are visible -> ?
        There is a bus. -> no
        There is a car. -> ?
        No, there is one. -> no
        Yes, there is none. -> yes
        No, I see a bus -> no
        No, there is no bus visible in the scene. -> ?
        Yes, there is a bus. -> ?
        Is there no bus visible in the scene -> ?
        Is there no bus visible in the scene? no -> no
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
        Yes -> yes
        No, it is correct. -> no
        It's not wrong to say that. -> no
        It isn't incorrect -> no
        yes yes yes -> yes
        Answer: No -> no
        that is right -> ?
        It would be right to say so -> no
        cannot tell -> ?
        Is it incorrect to say the scene is green and open? -> ?
        Is it incorrect to say the scene is green and open? Yes -> yes
    """,
    "object.cooccurrence": r"""
        There are cars and people. -> yes
        There is a car but no person -> no
        no -> no
        Yes -> yes
        Yes, both -> yes
        both are visible -> yes
        Neither is visible. -> no
        neither -> no
        Only one of them -> ?
        not both -> ?
        yes, no -> ?
        There are cars -> ?
        A car is visible. A person is visible, too. -> yes
        They are -> yes
        One is visible -> ?
        Q: Are both cars and pedestrians present?
        no -> no
        Both are visible. -> yes
        They are both present -> yes
        There are cars and people -> yes
        There are cars. -> ?
        There are cars, but there are no people. -> no
        There are no pedestrians. -> no
        No buses are visible. -> ?
        Neither is present. -> no
        Are both cars and pedestrians present? yes -> yes
        A car is visible. A pedestrian is visible, too. -> yes
        One of them is visible -> ?
        Both are there -> yes
        There is only a car -> ?
    """,
    "viewfactor.dominance": r"""
        No trees block the view -> ?
        The sky dominates the scene. -> yes
        it is not dominated by sky -> no
        No, the buildings dominate -> no
        There is sky -> ?
        Yes, it does. -> yes
        It does not -> no
        it doesn't dominate -> no
        Sky does not dominate -> no
        It is dominated by sky -> yes
        Answer: no -> no
        35% -> ?
        dominant -> ?
        I cannot say whether sky dominates. -> ?
        Q: Is the scene dominated by sky?
        The scene is dominated by sky. -> yes
        The scene is dominated by buildings. -> ?
        No, the buildings dominate. -> no
        The sky doesn't dominate the scene -> no
        Is the scene dominated by sky? Yes. -> yes
    """,
    "viewfactor.sparsity": r"""
        The greenery is sparse -> yes
        It is not sparse -> no
        The greenery is dense. -> no
        not dense -> ?
        Yes, sparse -> yes
        No. -> no
        Yes, it is -> yes
        The greenery isn't sparse -> no
        There is plentiful greenery: it is abundant -> no
        sparse -> ?
        no greenery -> ?
        maybe -> ?
        Answer: Yes -> yes
    """,
    "depth.range": r"""
        Complex -> yes
        simple -> no
        The scene is not complex -> no
        complex or simple -> ?
        Yes -> yes
        complex. -> yes
        Simple! -> no
        "Complex" -> yes
        Answer: simple -> no
        Answer: complex -> yes
        \boxed{complex} -> yes
        {"answer": "Simple"} -> no
        The scene looks complex -> yes
        visually simple -> no
        not simple -> ?
        It isn't complex. -> no
        simple, not complex -> no
        not complex but simple -> no
        complex or simple? complex -> yes
        complex/simple -> ?
        complex, simple -> ?
        both complex and simple -> ?
        No -> no
        Yes, complex -> yes
        Yes, it is simple -> ?
        No, it is complex. -> ?
        complex complex complex -> yes
        complexity -> ?
        simplycomplex -> ?
        I think it is complex -> yes
        It is hard to say whether it is complex. -> ?
        komplex -> ?
        high -> ?
        40 m -> ?
    """,
    "spatial.distribution": r"""
        On the left -> yes
        They are on the right side -> no
        not on the left -> no
        not on the right -> ?
        on both sides -> no
        No, on the right -> no
        Yes, they are. -> yes
        they aren't -> no
        No, they are on both sides -> no
        They are mainly on the left side of the image. -> yes
        evenly spread -> no
        in the middle -> no
        left or right -> ?
        Answer: yes -> yes
        That's right -> yes
        it is hard to say -> ?
        Q: Are the cars mainly concentrated on the left?
        The cars are on the left. -> yes
        The people are on the left -> ?
        The cars are on the right side. -> no
        The cars are not on the left. -> no
    """,
    "count": r"""
        There aren't 3 -> ?
        not many cars -> ?
        There are not many. -> ?
        2 on the left, 2 on the right -> ?
        no other cars -> ?
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
        7. -> 7
        '7' -> 7
        [7] -> 7
        $7$ -> 7
        \(7\) -> 7
        \boxed{7} -> 7
        $\boxed{7}$ cars, counted 3 on the left -> 7
        <b>7</b> -> 7
        {"answer": 7} -> 7
        {"answer": "7"} -> 7
        {"answer": 7, "confidence": 0.9} -> 7
        {"count": 7} -> 7
        **Answer: 7** -> 7
        Answer: seven -> 7
        Answer: 7 cars, of which 2 are red -> ?
        Step 1: 2 cars. Step 2: 3 cars. Answer: 5 -> 5
        Answer: none -> 0
        Answer: no -> ?
        Answer: unknown -> ?
        forty-two -> 42
        ninety nine -> 99
        one hundred -> 100
        a hundred -> 100
        two hundred -> 200
        two thousand -> 2000
        5 thousand -> 5000
        one hundred and five -> ?
        12,345,678 -> 12345678
        1 204 -> ?
        1.204 -> ?
        1.234,5 -> ?
        1,2 -> ?
        007 -> 7
        ７ -> 7
        ٣ -> 3
        三 -> ?
        VII -> ?
        # -> ?
        3️⃣ -> ?
        ４２台 -> ?
        drei -> ?
        quatre -> ?
        минус -> ?
        a pair of cars -> 2
        a dozen cars -> 12
        a couple -> 2
        a couple dozen -> ?
        several dozen -> ?
        dozens -> ?
        hundreds -> ?
        a handful -> ?
        some -> ?
        numerous -> ?
        a lot -> ?
        nil cars -> ?
        zero cars -> 0
        0. -> 0
        0 cars -> 0
        no one -> 0
        nobody -> 0
        There is nobody. -> 0
        not any -> 0
        There are not any. -> 0
        not a single car -> 0
        Not one car is visible. -> 0
        There isn't a single car -> 0
        none of them -> 0
        None of the cars are red. -> ?
        without cars -> 0
        no cars at all -> 0
        There is no lack of cars -> ?
        almost no cars -> ?
        few -> ?
        minus two -> ?
        negative 3 -> ?
        −3 -> ?
        - 3 -> 3
        3+ -> ?
        3 or more -> ?
        3 or fewer cars -> ?
        at most 3 -> ?
        3 at most -> ?
        3 at least -> ?
        up to 3 -> ?
        a maximum of 3 -> ?
        no less than 3 -> ?
        fewer than three -> ?
        over 20 -> ?
        <3 -> ?
        ≥ 3 -> ?
        about a dozen -> 12
        more than a dozen -> ?
        approximately 10 -> 10
        around ten -> 10
        maybe 3 -> 3
        I think there are 3 -> 3
        probably four -> 4
        3 or 4 -> ?
        one or two -> ?
        one or two cars -> ?
        one to two -> 1.5
        one car and two trucks -> ?
        three, maybe four -> ?
        10 - 15 -> 12.5
        10—14 -> 12
        10 to 15 -> 12.5
        10~15 -> ?
        from 2 to 4 cars -> 3
        between two and four -> 3
        between 4 and 2 -> ?
        10-15-20 -> ?
        5-5 -> 5
        2024-05-01 -> ?
        2+3 -> ?
        2 + 3 = 5 -> ?
        5±1 -> ?
        1e2 -> 100
        3.14 -> ?
        3.0 cars -> 3
        3 m -> ?
        3 km -> ?
        3 feet -> ?
        3 minutes -> ?
        35 percent -> ?
        half -> ?
        half a dozen cars -> 6
        two and a half -> ?
        one half -> ?
        3 out of 10 -> ?
        the third car -> ?
        1st -> ?
        image_12 -> ?
        car2 -> ?
        v1.5 -> ?
        3 cars: one, two, three. -> ?
        1 2 3 -> ?
        3, 3 and 3 -> 3
        ３ cars (three) -> 3
        three (3) -> 3
        3\n\n3\n\n3 -> 3
        333 -> 333
        threethreethree -> 3
        twotwo -> ?
        I cannot tell the number -> ?
        The number cannot be determined. -> ?
        It's hard to count, but I see 4. -> 4
        None of this is clear. -> ?
        one moment -> ?
        on the one hand -> ?
        That one is red. -> ?
        oui -> ?
        Yes, 3 -> 3
        USER: How many of the 2 kinds of cars are there? Answer with a number. ASSISTANT: 4 -> 4
        4\nUSER: How many buses?\nASSISTANT: 2 -> 4
        ### Human: Count the 3 cars.\n### Assistant: Two -> 2
        [INST] Count 5 cars [/INST] 6 -> 6
        10 plus -> ?
        10k -> ?
        3cars -> ?
        12 square meters -> ?
        fifteen hundred -> 1500
        no cars other than 2 taxis -> ?
        Q: How many cars are in the scene?
        3 -> 3
        3 cars -> 3
        three cars. -> 3
        2 automobiles -> 2
        2 cars and 3 people -> 2
        There are 3 people and 2 cars. -> 2
        There are 4 vehicles -> 4
        3 buses -> ?
        There are no buses, but 2 cars -> 2
        There are no cars, but 2 buses. -> 0
        There are no buses. -> ?
        There are no vehicles. -> 0
        no people are in the cars -> ?
        cars: 3, people: 5 -> 3
        between 2 and 4 cars and one bus -> 3
        How many cars are in the scene? 4 -> 4
        How many cars are in the scene 4 -> 4
        There is one. -> 1
        There is no way to count the cars. -> ?
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
        0.05 -> 0.05
        "0.05" -> 0.05
        $0.05$ -> 0.05
        \frac{1}{4} -> 0.25
        $35\%$ -> 0.35
        \boxed{0.35} -> 0.35
        {"answer": 0.35} -> 0.35
        Answer: 0.35. -> 0.35
        Answer: **35%** -> 0.35
        about a half -> 0.5
        roughly a third -> 0.333333333
        three quarters -> 0.75
        one fifth -> 0.2
        one in five -> ?
        3/0 -> ?
        5/4 -> ?
        35/100 -> 0.35
        0.35/1 -> ?
        35 out of 100 pieces -> 0.35
        35 per cent -> 0.35
        35pct -> 0.35
        0.5 % -> 0.005
        .5% -> 0.005
        100 -> ?
        101% -> ?
        -5% -> ?
        minus 0.2 -> ?
        0,05 -> 0.05
        0,5 % -> 0.005
        33,3% -> 0.333
        1,0 -> 1
        0.2-0.4 -> 0.3
        20–40% -> 0.3
        20 to 40 percent -> 0.3
        20% - 40% -> 0.3
        between 20% and 40% -> 0.3
        at least 20% -> ?
        20% or more -> ?
        about 20% -> 0.2
        20% or 30% -> ?
        nearly all -> ?
        most of it -> ?
        a large part -> ?
        half or more -> ?
        zero -> 0
        zero percent -> 0
        nothing -> 0
        0.35 m -> ?
        0.2 0.2 0.2 -> 0.2
        0.2, 20%, one fifth -> 0.2
        I cannot estimate the share. It is hard to say -> ?
        ½ -> ?
        0·35 -> ?
        yes -> ?
        0.35 of 1 -> ?
        I cut it into a hundred pieces; 12 of them show sky. Answer: 0.12 -> 0.12
        Q: What share of the picture is sky?
        0.3 -> 0.3
        30% of the picture is sky -> 0.3
        Sky: 30 %, building: 50 %. -> 0.3
        The buildings cover 50%. -> ?
        no sky is visible -> 0
        no buildings are visible -> ?
        What share of the picture is sky? 0.3 -> 0.3
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
        12.34 -> 12.34
        12.34 metres. -> 12.34
        12.34 M -> 12.34
        12,34 m -> 12.34
        1,234.5 m -> 1234.5
        2 km -> 2000
        500 mm -> 0.5
        10 yards -> 9.144
        10 yd -> 9.144
        100 inches -> 2.54
        1 mile -> 1609.344
        10 ft -> 3.048
        30 pixels -> ?
        3 seconds -> ?
        45 degrees -> ?
        45° -> ?
        5 car lengths -> ?
        two blocks -> ?
        minus 3 -> -3
        -3.5 -> -3.5
        one and a half meters -> 1.5
        2 and a half -> 2.5
        half a meter -> ?
        12½ m -> ?
        10 to 15 meters -> 12.5
        10-15m -> 12.5
        10m-15m -> 12.5
        between 10 and 15 m -> 12.5
        20 m or more -> ?
        over 20 m -> ?
        < 5 m -> ?
        ~12 m -> 12
        ≈12 m -> 12
        about twelve -> 12
        5 or 6 m -> ?
        12 m and 14 m -> ?
        12 m, i.e. 1200 cm -> 12
        Answer: 12.5 m away -> 12.5
        It is far away -> ?
        zero -> 0
        no cars -> ?
        I cannot tell the distance -> ?
        twelve point five -> ?
        1e400 -> ?
        NaN -> ?
        inf -> ?
        ∞ -> ?
        12.5.3 -> ?
        $12.5$ m -> 12.5
        12.5 m 12.5 m 12.5 m -> 12.5
        12 m2 -> ?
        12 m² -> ?
        12 square meters -> ?
        12 km/h -> ?
        12 feet 6 inches -> ?
        20+ m -> ?
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
        "car" -> car
        [car] -> car
        \boxed{car} -> car
        {"answer": "car"} -> car
        {"class": "traffic light"} -> traffic light
        **Car** -> car
        Answer: the car -> car
        Answer: car, because it is right in front of the bus -> car
        The final answer is: person. -> person
        Final answer: **traffic light** -> traffic light
        automobile -> car
        a sedan -> car
        a parked car -> car
        a man -> person
        women -> person
        children -> person
        A pedestrian. -> person
        cyclist -> rider
        a bike -> bicycle
        motorbike -> motorcycle
        lorry -> truck
        pick-up truck -> truck
        tram -> train
        greenery -> tree
        a sky-scraper -> building
        skyscrapers -> building
        house -> building
        street lamp -> pole
        the street -> road
        pavement -> sidewalk
        stop signs -> stop sign
        stopsign -> ?
        fire hydrant -> fire hydrant
        carcarcar -> car
        the the the -> ?
        cars cars cars -> car
        car, car, car, car -> car
        cargo -> ?
        a card -> ?
        busy -> ?
        a bus shelter -> ?
        Auto -> ?
        voiture -> ?
        車 -> ?
        🚗 -> ?
        something -> ?
        object -> ?
        none -> ?
        no -> ?
        7 -> ?
        no car -> ?
        not a car -> ?
        a car and a bus -> ?
        either a car or a bus -> ?
        car/bus -> ?
        probably the car -> car
        I think it is the bus. -> bus
        Maybe a tree? -> tree
        It is hard to say which object is closest. -> ?
        It cannot be determined. -> ?
        The bus is the closest, followed by the car. -> bus
        The car is closer than the bus -> car
        The car is farther than the bus -> ?
        The closest object is not the car, it is the bus. -> bus
        There is a car, a bus and a tree. -> ?
        Which object is closest to the camera? car -> car
        Which is closest: car, bus or person? bus -> bus
        Options: car, bus, person. Answer: person -> person
        USER: Which object is closest, the car or the bus? ASSISTANT: bus -> bus
        USER: Which object is closest?\nAnswer with one class. ASSISTANT: -> ?
        The man in the car -> person
        A person next to a bus. -> person
        The car is not the closest -> ?
        everything except the car -> ?
        The car is not the closest, the bus is. -> bus
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
        the sky. -> sky
        clouds -> sky
        skies -> sky
        greenery -> tree
        vegetation -> tree
        Buildings. -> building
        the sky and buildings -> ?
        sky or building -> ?
        sky, building, or tree: building -> building
        Mostly sky, not buildings -> sky
        The upper part is sky -> sky
        Answer: building -> building
        the top -> ?
        blue -> ?
        a clear blue sky -> sky
        yes -> ?
        {"answer": "sky"} -> sky
        I cannot tell what is at the top. -> ?
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
        Tree. -> tree
        the bench -> bench
        Answer: bench -> bench
        A bench is missing -> bench
        The bench is absent. -> bench
        I do not see a bench. -> bench
        There isn't any bench. -> bench
        The car is present, the bench is not. -> bench
        The car is visible. -> ?
        There are a car and a tree. -> ?
        There is a car and a tree but no bench -> bench
        There is neither a car nor a bench. -> ?
        All of them are present -> ?
        none -> ?
        no -> ?
        yes -> ?
        a tree, a car, or a bench? -> ?
        tree or bench -> ?
        I cannot tell -> ?
        The bench. The bench. The bench. -> bench
        The bus is not missing -> ?
        Not the car -> ?
        bench, not the car -> bench
        Neither the car nor the bench is missing, it is the bus -> bus
        Q: Which of these is not present: a tree, a car, or a bench?
        bench -> bench
        car. -> car
        a tree -> tree
        Which of these is not present: a tree, a car, or a bench? tree -> tree
        Which of these is not present: a tree, a car, or a bench -> ?
        tree, car, bench -> ?
        There is no tree on the sidewalk. -> tree
        There are cars and benches on the street, but no trees -> tree
        The sidewalk has no bench, and a car is visible. -> bench
        a tree, a car, or a bench: bench -> bench
        A tree and a car are visible. -> ?
        Of a tree, a car, and a bench, the car is not visible. -> car
        elephant -> elephant
    """,
    "multi_hop.which_is_more": r"""
        cars -> car
        There are more people than cars. -> person
        fewer cars than people -> person
        cars or people -> ?
        people -> person
        People. -> person
        Cars -> car
        car -> car
        persons -> person
        pedestrians -> person
        automobiles -> car
        the number of cars -> car
        The number of people is greater. -> person
        The number of cars is greater than the number of people. -> car
        more cars -> car
        There are more cars than people -> car
        There are fewer people than cars. -> car
        People outnumber cars. -> person
        Cars outnumber the people -> car
        people are outnumbered by cars -> car
        cars, not people -> car
        not cars but people -> person
        Cars are not more than people -> ?
        There are not more people than cars. -> ?
        people or cars? people -> person
        people or cars -> ?
        people/cars -> ?
        people and cars -> ?
        5 people and 3 cars -> ?
        It is a tie -> ?
        They are equal. -> ?
        the same number -> ?
        as many people as cars -> ?
        both -> ?
        neither -> ?
        buses -> ?
        vehicles -> ?
        5 -> ?
        yes -> ?
        Answer: people -> person
        I count 5 people and 3 cars. Answer: people -> person
        {"answer": "cars"} -> car
        people people people -> person
        I cannot tell which is more, people or cars. -> ?
        Q: Which is greater: the number of people or cars?
        people -> person
        Which is greater: the number of people or cars? cars -> car
        Which is greater: the number of people or cars -> ?
    """,
    "depth.range.label": r"""
        high-depth -> high
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
        Low. -> low
        'moderate' -> moderate
        [high] -> high
        \boxed{moderate} -> moderate
        {"answer": "low"} -> low
        Answer: moderate -> moderate
        The depth range is fairly high. -> high
        the depth complexity is quite low -> low
        not high but moderate -> moderate
        not low, not high, but moderate -> moderate
        It is neither low nor high; it is moderate -> moderate
        neither low nor high -> ?
        low, moderate or high? high -> high
        low, moderate, high -> ?
        low/moderate/high: low -> low
        Of low, moderate or high I choose moderate. -> moderate
        low or moderate -> ?
        between low and moderate -> ?
        low to moderate -> ?
        very high -> high
        medium. -> moderate
        intermediate -> moderate
        shallow -> low
        deep -> high
        highest -> ?
        higher than low -> ?
        There are high-rise buildings. -> ?
        low-rise houses; the depth is moderate -> moderate
        high buildings on both sides -> ?
        a deep blue sky -> ?
        highway -> ?
        below -> ?
        lowlow -> ?
        low low low low -> low
        probably high -> high
        I think it is moderate -> moderate
        It could be low or high. -> ?
        It is hard to say. -> ?
        complex -> ?
        yes -> ?
        35 -> ?
        hoch -> ?
        élevé -> ?
        high\nUSER: why?\nASSISTANT: low -> high
        How would you put the depth? (low, moderate, or high) high -> high
        (e.g., low, moderate, or high) moderate -> moderate
        low-moderate -> ?
        medium-high -> ?
        moderate-high -> ?
        not particularly high, rather low -> low
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
        Left side. -> left side
        "right" -> right side
        [left side] -> left side
        \boxed{right side} -> right side
        {"answer": "evenly spread"} -> evenly spread
        Answer: evenly -> evenly spread
        to the left -> left side
        left-hand side -> left side
        On the right-hand side. -> right side
        the left half -> left side
        in the center -> evenly spread
        centre -> evenly spread
        throughout the image -> evenly spread
        on both sides of the street -> evenly spread
        both -> evenly spread
        Both cars are on the left. -> left side
        equally on the left and the right -> evenly spread
        from left to right -> evenly spread
        left of the center -> left side
        not on the left but on the right -> right side
        on the right, not on the left -> right side
        on the left rather than the right -> left side
        on the right instead of the left -> right side
        mostly on the left, some on the right -> ?
        left side, right side or evenly spread: right side -> right side
        (left side / right side / evenly spread) left side -> left side
        left side, right side, evenly spread -> ?
        either left or right -> ?
        neither left nor right -> ?
        They are not evenly spread. -> ?
        That's right. -> ?
        right now -> ?
        right in front of me -> ?
        right in the middle -> evenly spread
        bright -> ?
        leftover -> ?
        leftleftleft -> left side
        left left left -> left side
        up -> ?
        links -> ?
        gauche -> ?
        I am not sure whether it is the left or the right side. -> ?
        Where are the cars? (e.g., left side, right side, or evenly spread) right -> right side
    """,
    "depth.variation": r"""
        Yes -> yes
        No, it does not vary. -> no
        it varies -> ?
        It does. -> yes
        They don't -> no
        high -> ?
        Answer: yes -> yes
        I can't say -> ?
    """,
    "depth.foreground_presence": r"""
        Yes -> yes
        no. -> no
        There is a car in the foreground. -> yes
        There is no car in the foreground -> no
        No cars are visible. -> no
        The car is in the background -> ?
        Answer: no -> no
        foreground -> ?
        Q: Is there a car in the foreground?
        A car is visible in the foreground. -> yes
        There is a person in the foreground. -> ?
        There are no cars in the foreground -> no
        There are no cars in the background -> ?
    """,
    "depth.background_presence": r"""
        yes! -> yes
        No -> no
        A bus is visible in the background. -> yes
        There isn't any bus in the background -> no
        There is a bus in the foreground. -> ?
        background -> ?
        Answer: Yes. -> yes
        maybe -> ?
    """,
    "segmentation.vertical_layout": r"""
        Yes -> yes
        no -> no
        Yes, the sky is at the top. -> yes
        The sky is at the top -> yes
        The sky is not at the top. -> no
        There is sky -> ?
        Buildings are at the top -> ?
        Answer: no. -> no
        unclear -> ?
    """,
    "scene.skyline_visibility": r"""
        Yes, clearly. -> yes
        The skyline is visible -> yes
        The skyline is clearly visible. -> yes
        The skyline is not visible -> no
        The skyline isn't clear -> no
        It is blocked by buildings. -> no
        It is not blocked -> ?
        No, trees hide it -> no
        cannot be determined -> ?
        Answer: no -> no
        The sky is clear -> ?
        partially blocked -> no
    """,
    "occlusion.binary": r"""
        Yes -> yes
        No -> no
        Yes, partly hidden. -> yes
        it is not -> no
        Answer: yes -> yes
        maybe -> ?
        Q: Is a car partly hidden behind a bus?
        The car is partly hidden behind the bus. -> yes
        The car is not hidden behind the bus. -> no
        The bus hides the car. -> yes
        The bus is partly hidden behind the car -> ?
        The car is fully visible. -> no
        Is a car partly hidden behind a bus? no -> no
    """,
    "spatial.relation": r"""
        Yes -> yes
        no. -> no
        it is -> yes
        It isn't. -> no
        Answer: No -> no
        The car is in front of the bus. -> ?
        It is in front -> ?
        Q: Is the car in front of the bus?
        Yes -> yes
        The car is in front of the bus. -> yes
        The car is not in front of the bus -> no
        The bus is in front of the car. -> no
        The bus is behind the car -> yes
        The car is behind the bus. -> no
        The car is closer to the camera than the bus. -> yes
        The car is farther away than the bus. -> no
        The car is nearer. -> yes
        The person is in front of the bus -> ?
        The car is in front of the bus. The bus is in front of the car. -> ?
        Is the car in front of the bus? -> ?
        Is the car in front of the bus -> ?
        Is the car in front of the bus? No -> no
        It is hard to say whether the car is in front of the bus. -> ?
        Yes, the car is nearer than the bus -> yes
    """,
    "negation.spatial_refute": r"""
        Yes -> yes
        No -> no
        Answer: yes -> yes
        that is true -> ?
        the car is in front of the bus -> ?
        Q: Is the car not in front of the bus?
        Yes. -> yes
        No, it is in front of it. -> no
        The car is not in front of the bus. -> yes
        The car is in front of the bus. -> no
        The car is behind the bus. -> yes
        The bus is behind the car -> no
        Is the car not in front of the bus? Yes -> yes
        Is the car not in front of the bus -> ?
    """,
    "negation.composite_conjunction_1": r"""
        Yes -> yes
        no -> no
        It is wrong to say so -> yes
        It is accurate to call it that -> no
        Answer: yes -> yes
        perhaps -> ?
        green -> ?
    """,
    "negation.composite_conjunction_2": r"""
        Yes, that would be wrong. -> yes
        No. -> no
        It is not correct to call it that -> yes
        Answer: No -> no
        sky -> ?
        oui -> ?
    """,
    "negation.composite_conjunction_3": r"""
        yes -> yes
        No, it would be true to say so -> no
        That would be inaccurate. -> yes
        Answer: no -> no
        low-rise -> ?
        Would it be wrong to call the area low-rise and closed? -> ?
        Would it be wrong to call the area low-rise and closed? No -> no
    """,
    "multi_hop.count_compare": r"""
        Yes -> yes
        No -> no
        Yes, there are more people than cars. -> yes
        There are more people than cars -> yes
        There are more cars than people. -> no
        There are fewer people than cars -> no
        There are fewer cars than people -> yes
        People outnumber cars -> yes
        Cars outnumber people. -> no
        There are not more people than cars. -> no
        There are people and cars -> ?
        5 people, 3 cars -> ?
        The same number. -> ?
        it is a tie -> ?
        Answer: no -> no
        Are there more people than cars? -> ?
        Are there more people than cars? No -> no
        I cannot tell whether there are more people than cars. -> ?
        Q: Are there more people than cars in the image?
        There are more people than cars. -> yes
        Are there more people than cars in the image -> ?
        more buses than cars -> ?
    """,
    "counterfactual.count_perturbation": r"""
        Yes -> yes
        No, it would not. -> no
        It would -> yes
        Yes, the area would look crowded -> yes
        The area would look crowded. -> yes
        The area would not look crowded. -> no
        It would still look empty -> ?
        probably -> ?
        2 -> ?
        If two more people entered the scene, would the area look crowded? -> ?
        If two more people entered the scene, would the area look crowded? No -> no
        Answer: yes -> yes
    """,
    "counterfactual.absence_viewfactor": r"""
        Yes, it would. -> yes
        It wouldn't -> no
        It would feel more natural. -> yes
        It would not feel more natural -> no
        Answer: no -> no
        natural -> ?
        it depends -> ?
    """,
    "counterfactual.attribute_substitution": r"""
        yes -> yes
        No. -> no
        The scene would feel less open. -> yes
        The scene would not feel less open -> no
        It would feel more open -> ?
        open -> ?
        Answer: yes -> yes
        maybe not -> no
    """,
    "counterfactual.occlusion_movement": r"""
        Yes -> yes
        no -> no
        It would. -> yes
        it would not -> no
        Answer: No. -> no
        There is a bus -> ?
        That depends. -> ?
        hard to say -> ?
    """,
}


def rows():
    for subtype, block in TABLE.items():
        question = ""
        for line in map(str.strip, block.strip().split("\n")):
            if line.startswith("Q: ") and " -> " not in line:
                question = line.removeprefix("Q: ")
                continue
            text, _, value = line.rpartition(" -> ")
            yield subtype, question, text.replace(r"\n", "\n").replace("␣", " "), value


def expected(subtype, value):
    if value == "?":
        return UNPARSED
    if SUBTYPES[subtype].answer_kind in {"integer", "share", "number"}:
        return Parsed("answer", pytest.approx(float(value)))
    return Parsed("answer", value)


@pytest.mark.parametrize(("subtype", "question", "text", "value"), list(rows()))
def test_table(subtype, question, text, value):
    assert parse_answer(text, SUBTYPES[subtype], question) == expected(subtype, value)


def test_the_table_is_about_every_subtype_and_long_enough():
    assert {subtype for subtype, *_ in rows()} == set(SUBTYPES)
    assert len({row[:3] for row in rows()}) == len(list(rows())) >= 300


def test_an_empty_text_is_unparsed():
    assert parse_answer("", SUBTYPES["presence.binary"]) == UNPARSED


def test_no_prediction_is_missing():
    assert parse_answer(None, SUBTYPES["count"]) == MISSING
