"""What the strict profile reads from texts in which models have habits of their own: one table, by habit.

A line is `text -> value`, under `subtype: question`; the value `?` is unparsed, and \\n a line break.
"""

import pytest
from test_parse_table import expected

from urbanvlm.dataset.taxonomy import SUBTYPES
from urbanvlm.evaluate.parse import parse_answer

HABITS = {
    "goes on with questions of its own": r"""
        presence.binary: Is there a tram in the scene?
        yes Question: Is there a kiosk? Answer: no -> yes
        No.\nQuestion: What colour is the roof?\nAnswer: yes, it is grey -> no
        No\n\nIs there a person in the scene?\nYes -> no
        Yes. Is there a fountain? No. Is there a bench? No. -> yes
        no Q: Is it raining? A: yes -> no
        No, there is no tram.\nQ1: Is there a bus? A1: Yes -> no
        yes USER: Is there a dog? ASSISTANT: no -> yes
        Yes, a tram is visible. What else stands there? There is no bus. -> yes
        There is a tram.\nHow many windows does it have? 12 -> yes
        There is no tram on the street. ### Question: Is there a car? ### Answer: Yes -> no
        Answer: no\n\nQuestion: Are there any shops?\nAnswer: yes -> no
        The answer is no. Question: Is there a shop here? The answer is yes. -> no
        Yes\nQuestion: Is there a tram in the scene?\nAnswer: No -> yes
        Is there a tram in the scene? Yes. Is there a shop? No. -> yes
        Question: Is there a tram in the scene? Answer: No Question: Is there a bus? Answer: Yes -> no
        Question: Is there a fountain? Answer: yes -> ?
        A wide square. Is there a fountain? Yes. -> ?
        I cannot tell. Question: Is there a bus? Answer: yes -> ?
        I see rails. Is that a tram? No, it is a bus. So there is no tram. -> no
        There is a tram. Wait, is that a tram? No, there is no tram. -> no
        I see no tram on the left. What about the right? There is a tram. -> ?
        Rails run down the road.\nIs there a tram in the scene?\nThere is one.\nAnswer: yes -> yes
        Do I see a tram? Yes, there is a tram. -> yes
        Yes.\nDo you have any other questions? -> yes
        No, I see none. Is there anything else you would like to know? -> no
        presence.binary: Is there a bus in the scene?
        Is there a bus in the scene? yes -> yes
        Are there buses in the scene? No. -> no
        Is there a bus here? There is none. -> no
        Is there a red bus? No. -> ?
        no\nHuman: Is there a wall?\nAssistant: yes -> no
        count: How many people are in the scene?
        3 Question: How many dogs are in the scene? Answer: 1 -> 3
        4\n\nHow many people wear a hat? 2 people -> 4
        There are 2 people.\nHow many of them are seated?\n1 -> 2
        2\nQ: How many lamps?\nA: 5 -> 2
        How many people are in the scene? There are 6. -> 6
        How many people? I count 6. -> 6
        How many cars are in the scene? 6 -> ?
        6. How many cars are in the scene? 9. -> 6
        I can see 5 people. Are all of them walking? Yes, 5 of them. -> 5
        spatial.distribution.label: On which side are the trees?
        left\nQuestion: On which side are the cars?\nAnswer: right -> left side
        The trees are on the right. Where are the cars? On the left. -> ?
        right side Q: Where is the sky? A: left -> right side
        depth.closest_object: Which object is nearest to the viewer?
        bench\n\nWhat is behind it?\nA car -> bench
        Which object is nearest to the viewer? A bench. What is farthest? A bus. -> bench
        The bench. Question: What colour is the car? Answer: red car -> bench
        viewfactor.scalar: What share of the picture is sky?
        0.3\nQuestion: What share of the picture is road?\nAnswer: 0.5 -> 0.3
        30 %. What share is road? 20 %. -> 0.3
        depth.range.label: How deep is the view?
        low\nHow high are the houses?\nhigh -> low
    """,
    "repeats the question": r"""
        count: How many cars are in the scene?
        How many cars are in the scene? There are 3 -> 3
        You ask how many cars are in the scene? Three. -> 3
        Q: How many cars are in the scene? A: 3 -> 3
        The number of cars in the scene is 3. -> 3
        presence.binary: Is there a bench in the scene?
        The question is: Is there a bench in the scene? The answer: no -> no
        "Is there a bench in the scene?" - No. -> no
        Is there a bench in the scene?\n\nYes -> yes
        spatial.relation: Is the dog on the bench?
        The dog is on the bench. -> yes
        The dog is sitting on the bench. -> yes
        The dog is not on the bench. -> no
        No, the dog isn't on the bench. -> no
        The dog is near a man on the bench. -> ?
        The bench is on the dog. -> ?
        The dog is under the bench. -> ?
        The dog may be on the bench. -> ?
    """,
    "thinks aloud": r"""
        count: How many cars are in the scene?
        <think>One on the left, two on the right.</think>3 -> 3
        <think>\nMaybe 4? No, 5.\n</think>\n\nThere are 5 cars. -> 5
        <think>I count 2 cars -> ?
        <think>2</think> -> ?
        <answer>3</answer> -> 3
        <think>2 or 3?</think><answer>3</answer> -> 3
        <answer>3 -> 3
        <answer> 3 cars </answer> I counted twice. -> 3
        <answer>2</answer> <answer>3</answer> -> ?
        <answer>2</answer> as said, <answer>2</answer> -> 2
        <answer></answer> 4 -> 4
        <thinking>7 wheels</thinking>2 -> 2
        I think of <answer> tags. <answer>6</answer> -> 6
        presence.binary: Is there a car in the scene?
        <think>there is no car. hmm, there is</think><answer>yes</answer> -> yes
        <answer>yes</answer><answer>no</answer> -> ?
        <reasoning>no bus</reasoning>\n<answer>No</answer> -> no
        <think>yes? no?</think> -> ?
        <ANSWER>Yes</ANSWER> -> yes
        spatial.distribution.label: Where are the cars?
        <think>left, no, right</think> left side -> left side
        <answer>left</answer> <answer>right</answer> -> ?
    """,
    "loops, or breaks off": r"""
        presence.binary: Is there a car in the scene?
        YesYesYes -> yes
        nonononono -> no
        YesYesYesYe -> yes
        NoNoNoNoYes -> ?
        YesNoYesNoYesNo -> ?
        yes yes yes ye -> yes
        Yes, there is a car in the -> yes
        No, there are no -> no
        There is a -> ?
        Answer: -> ?
        The answer is -> ?
        count: How many cars are in the scene?
        ThreeThreeThree -> 3
        3\n3\n3\n3 -> 3
        5\n50000000000000000000000000000 -> 5
        3 cars3 cars3 cars3 -> 3
        There are 2 cars in the scene. There are 2 cars in the scene. There are 2 ca -> 2
        7777777777777777777777777777 -> ?
        spatial.distribution.label: Where are the cars?
        LeftLeftLeftLe -> left side
        Right side of roadRight side of roadRight side of -> right side
        LeftRightLeftRightLeftRight -> ?
        depth.closest_object: What is the nearest object?
        BenchBenchBench -> bench
        carcarcarca -> car
    """,
    "names the whole and its parts": r"""
        count: How many dogs are in the scene?
        There are two dogs. One dog is black and the other dog is white. -> 2
        There are 3 dogs: one near the wall and two on the road. -> 3
        Three dogs: 1 on the left and 2 on the right. -> 3
        There are 2 dogs on the left and 3 on the right, 5 in total. -> 5
        2 on the left and 1 on the right, so there are 3 dogs in total. -> 3
        There is a total of 4 dogs. One dog lies in the shade. -> 4
        Two dogs on the left. Three dogs on the right. -> ?
        2 dogs on the left and 2 dogs on the right -> ?
        There are 2 dogs in front. There is 1 dog behind. -> ?
        One dog is on the left, another dog is on the right. -> ?
        One dog is in front. One dog is behind. -> ?
        There are four dogs. One dog sleeps. -> 4
        There are four dogs. Two dogs sleep. -> ?
        I see 2 dogs by the wall. Therefore, there are 2 dogs. -> 2
        I see 2 dogs, then 3 more. Therefore, there are 5 dogs. -> 5
        First 3 dogs, then 1 dog.\nThus, 4 dogs are in the scene. -> 4
        There are 3 dogs in total: 1 small dog and 2 large dogs. -> 3
        The total number of dogs is 6, with 4 dogs in front. -> 6
        In total 2 dogs, in total 3 dogs. -> ?
        There are 7 dogs in total. So 6 dogs are in the scene. -> ?
        The total number of dogs is 2 groups of 3 dogs + 1 dog = 7 dogs. -> ?
        object.cooccurrence: Are there both a car and a person in the scene?
        There is a car. -> ?
        A car stands there. No person is visible. -> no
        There is a car and there is a person. -> yes
        There is no car. -> no
        No bus is visible. A person is there. -> ?
    """,
    "does not know": r"""
        count: How many cars are in the scene?
        There isn't sufficient information. -> ?
        There is not enough detail to count the cars. -> ?
        I can't see. -> ?
        I can't see well. -> ?
        I can't see the picture. -> ?
        I cannot see any cars. -> 0
        I am unable to view pictures. -> ?
        As a language model I have no eyes. -> ?
        No information is given. -> ?
        I'm sorry, but I can't help with that. -> ?
        No answer can be given. -> ?
        There is insufficient context. -> ?
        It is not possible to count them. -> ?
        presence.binary: Is there a car in the scene?
        Neither yes nor no. -> ?
        neither (A) yes nor (B) no -> ?
        Neither option (a) no nor option (b) yes fits. -> ?
        There isn't sufficient evidence of that. -> ?
        I can't see. -> ?
        I can't see it. -> no
        There is no clear answer. -> ?
        I don't see enough. -> ?
        It isn't clear from the picture. -> ?
        The image is too dark. -> ?
        No picture was provided. -> ?
        No image is attached, so I can't say. -> ?
        depth.closest_object: Which animal is nearest to the viewer?
        There are no animals on the road, only a car. -> ?
        There is no animal. A man sits on a bench. -> ?
        A dog is nearest. -> dog
        viewfactor.scalar: What share of the picture is sky?
        There isn't sufficient information to estimate the share. -> ?
        There isn't sufficient information on how much of the picture is sky. -> ?
    """,
    "says more than was asked": r"""
        presence.binary: Is there a bus in the scene?
        There is a bus that is not moving. -> yes
        There is a bus, but it is not moving. -> yes
        Yes, there is a bus that does not move. -> yes
        There is a bus which has no passengers. -> yes
        There is a bus stop. -> ?
        There is no bus that I can see. -> no
        The bus is not moving. -> ?
        I see that there is no bus. -> no
        It seems that there is no bus. -> no
        There is no bus driver. -> ?
        No buses are moving. -> ?
        No bus is parked here. -> ?
        There is no red bus. -> ?
        There is no other bus. -> ?
        No bus or tram is visible. -> no
        There is no tram or bus. -> no
        Not a bus but a lorry. -> ?
        presence.binary: Is there a red kite in the scene?
        There is a red kite. -> yes
        There is no red kite. -> no
        There is no blue kite. -> ?
        There is a blue kite. -> ?
        There is a kite. -> ?
        There is no kite. -> no
        presence.binary: Is there a cup under the table?
        There is a cup on the table. -> ?
        There is a cup under the table. -> yes
        There is no cup under the table. -> no
        There is no cup on the table. -> ?
        There is no cup on the road. -> ?
        No cup. -> no
        There is no cup. -> no
        presence.binary: Is there a postbox in the scene?
        There is a postbox. -> yes
        There is no postbox. -> no
        No postbox is visible. -> no
        A postbox is visible on the left. -> yes
        There is a kiosk. -> ?
        There is no kiosk. -> ?
        presence.binary: Are there kiosks or postboxes in the scene?
        There is a kiosk. -> yes
        There are no kiosks or postboxes. -> no
        There are no kiosks. -> ?
        count: How many cars are in the scene?
        No cars are moving. -> ?
        No cars are parked. -> ?
        There are no red cars. -> ?
        No cars are on the road. -> 0
        There are no cars in the picture. -> 0
        Three cars, which are not moving. -> 3
        count: How many red cars are in the scene?
        There are 3 red cars. -> 3
        There are 2 blue cars. -> ?
        There are 2 blue cars and 3 red cars. -> 3
        There are no blue cars. -> ?
        count: How many kiosks are in the scene?
        There is only one kiosk. -> 1
        There are no kiosks. -> 0
        There are no shops. -> ?
        one kiosk -> 1
        viewfactor.dominance: Is the scene dominated by buildings?
        It is dominated by buildings. -> yes
        It is dominated by the sky. -> ?
        The scene is dominated by the sky rather than by buildings. -> ?
        It is not dominated by buildings. -> no
        spatial.distribution.label: Where is the bench?
        It is to the left of the bus on the right. -> left side
        The bench is on the left side of the road. -> left side
        It is to the right of a car that is on the left. -> right side
    """,
    "answers in a roundabout way": r"""
        presence.binary: Is there a bicycle in the scene?
        While there are several cars, there are no bicycles present. -> no
        No bicycle could be identified. -> no
        It's a motorcycle rather than a bicycle. -> ?
        There is an absence of bicycles. -> no
        There is nothing but a bicycle. -> yes
        A bicycle is nowhere to be seen. -> no
        The statement "there is a bicycle" is false. -> ?
        Nobody is on the bicycle. -> ?
        There is a car but no bicycle or bus. -> no
        If there were a bicycle, it would be on the left. -> ?
        I do not believe there is a bicycle. -> no
        It is unlikely that there is a bicycle. -> ?
        It looks like a bicycle, but it is a motorcycle. -> ?
        In the scene, no bicycle is present; however, there is a scooter. -> no
        The street is empty of bicycles. -> no
        No. I can see a bicycle shop. -> no
        count: How many cars are in the scene?
        2 red cars, 1 blue car and 1 white car. -> ?
        There are 4 cars: 2 red, 1 blue and 1 white. -> 4
        There are 2 cars on each side. -> ?
        Two cars each. -> ?
        Two cars on both sides. -> ?
        I cannot see any cars clearly. -> ?
        On the left: 2. On the right: 3. Overall 5 cars. -> 5
        two cars. The first car is red. The second car is blue. -> 2
        There are two cars with 4 doors. -> ?
        Not 3 but 4. -> 4
        There are two cars: one red and one blue. -> 2
        There are 6 vehicles: 2 trucks and 4 cars. -> 4
        4 cars and 2 trucks, so 6 vehicles. -> 4
        car 12 -> ?
        One, possibly two. -> ?
        One is in front, two are behind. -> ?
        2 red cars and 2 blue cars -> ?
        count: How many women are in the scene?
        There are 3 men. -> ?
        There are no men. -> ?
        There are 2 women and 3 men. -> 2
        count: How many people are in the scene?
        2 men and 2 women -> ?
        There are two men and two women. -> ?
        There are 4 people: 2 men and 2 women. -> 4
        depth.closest_object: Which object is nearest to the viewer?
        The bus is behind the car. -> ?
        There's no object nearer than the bench. -> ?
        It's a bench, not a chair. -> bench
        depth.range.label: How deep is the view?
        The buildings are high. -> ?
        The depth is moderate, with high buildings. -> moderate
        depth.average_per_object: How far away are the cars on average?
        within 10 m -> ?
        spatial.distribution: Are most of the cars in the left half?
        The left half has few cars. -> ?
        Most are on the right. -> no
        viewfactor.dominance: Does greenery dominate the scene?
        Sky and greenery dominate the scene. -> ?
        Sky dominates the greenery. -> ?
        The scene is dominated by trees. -> yes
        spatial.distribution.label: On which side are the people?
        The people are on the left, the cars on the right. -> ?
        That is right, on the left. -> left side
        To the right of the bus. -> right side
    """,
    "writes one share among other numbers": r"""
        viewfactor.scalar: What share of the picture is sky?
        As of 2021, the sky takes 35 %. -> 0.35
        Of the 4 quarters, 1 is sky, which is 25 %. -> 0.25
        2 of the 8 tiles show sky, so 25 % is sky. -> 0.25
        The sky fills 1/3, or 33 %. -> 0.333333333
        1/4 of it, i.e. 40 %. -> ?
        20 % in the left half and 40 % in the right half. -> ?
        In 3 of 4 pictures 30 % and in one 20 %. -> ?
        50 -> ?
        viewfactor.scalar: What percentage of the picture is sky?
        50 -> 0.5
        The answer is (B) 40. -> 0.4
        12.5 -> 0.125
        45% -> 0.45
        0.4 -> 0.4
        250 -> ?
        50 or 60 -> ?
        depth.average_per_object: How far away are the cars on average?
        Between cars 2 and 3 lie gaps, but the mean is 12 m. -> 12
        5 cars stand 20 m away. -> 20
        The 3 cars are 10 m and 20 m away. -> ?
    """,
    "says where little is": r"""
        spatial.distribution.label: Where are most of the cars?
        There are no cars on the left side. -> ?
        The left side has no cars. -> ?
        The right half is empty. -> ?
        There are fewer cars on the left side than on the right side. -> ?
        There are more cars on the left side than on the right side. -> left side
        There are few cars on the right, most are on the left. -> left side
        Hardly any cars are on the left. -> ?
        I don't see many cars on the right. -> ?
        Both sides have no cars. -> ?
        There are a few cars on the left. -> left side
        right[0.87, 0.76] -> right side
        They are spread evenly with no gap -> evenly spread
        spatial.distribution: Are most of the cars in the left half?
        The left side is empty. -> ?
        depth.closest_object: Which of all objects is nearest?
        The farthest object is the building. -> ?
        The most distant object is the tree. -> ?
        The car is the second closest object. -> ?
        The building is the farthest, then comes the tree. -> ?
        The closest is the car, the second closest the bus. -> car
        negation.exclusion_choice: Which is not in the picture: a bus, a car or a bench?
        The bus is in the picture. -> ?
        The bus is in the image, behind the car. -> ?
        The bus is in the picture. The bench is not in the picture. -> bench
        viewfactor.scalar: What share of the picture is building?
        50/50 -> ?
        10/50 -> 0.2
        70% of the picture is not building. -> ?
        Half of it isn't building. -> ?
        30% is building and the rest is not. -> 0.3
    """,
    "counts groups, and the parts of a whole": r"""
        count: How many cars does the picture show?
        There are two rows of cars. -> ?
        two groups of cars -> ?
        2 sets of cars -> ?
        There is one row of cars. -> ?
        three pairs of cars -> ?
        5 parking spaces for cars -> ?
        a pair of cars -> 2
        There are 10 cars in a row. -> 10
        two lines of cars, with 7 cars in total -> 7
        There are two red cars and another two blue ones. -> ?
        There are two red cars and another blue car. -> ?
        There are two cars: one is red and another is blue. -> 2
        count: How many rows of cars are there?
        There are two rows of cars. -> 2
    """,
    "contradicts itself in a second turn": r"""
        count: How many cars does the picture show?
        3\nASSISTANT: 4 -> ?
        3\nASSISTANT: There are three cars. -> 3
        How many cars does the picture show?\nASSISTANT: 4 -> 4
        how many cars does the picture show ASSISTANT: 4 -> 4
        Count carefully.\nASSISTANT: 4 -> 4
        presence.binary: Is there a bus in view?
        Yes\nASSISTANT: No -> ?
        Yes. Is there a bus in view? ASSISTANT: No -> ?
        is there a bus in view\nASSISTANT: no -> no
    """,
    "names a bus by its number, or in a list": r"""
        presence.binary: Is there a bus in view?
        Bus No. 5 is visible. -> yes
        The No. 7 bus can be seen. -> yes
        A No. 7 bus is on the road. -> ?
        No. 5 cars are visible. -> no
        presence.binary: Is there a bus in the scene?
        The image shows cars, trucks and a bus. -> yes
        There is a car, a tree, a bus -> yes
        The image shows cars, trucks and a bus stop. -> ?
        The image shows cars, trucks and a tram. -> ?
        The image shows cars, trucks except a bus. -> ?
        There is a sign for cars, trucks and buses. -> ?
        No, there is a car, a tree and a truck. -> no
        No bus is close to the camera. -> ?
        presence.binary: Is there a camera in the scene?
        There is a bench. -> ?
        presence.binary: Is there a bus close to the car?
        There is a bus and a car. -> ?
    """,
}


def rows():
    for habit, block in HABITS.items():
        subtype = question = ""
        for line in map(str.strip, block.strip().split("\n")):
            if " -> " not in line:
                subtype, _, question = line.partition(": ")
            else:
                text, _, value = line.rpartition(" -> ")
                yield habit, subtype, question, text.replace(r"\n", "\n"), value


@pytest.mark.parametrize(("habit", "subtype", "question", "text", "value"), list(rows()))
def test_habit(habit, subtype, question, text, value):
    assert parse_answer(text, SUBTYPES[subtype], question) == expected(subtype, value)


def test_no_row_stands_twice():
    assert len(set(rows())) == len(list(rows())) > 200
