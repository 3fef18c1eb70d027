"""What the votes of a review say, and how sure it is: agreement, ranking, rates, bias, and what is missing.

Works on plain `Judgement`s alone: knows of no store, no review and no page. Whatever has an interval has it over
items: they are the sample, and the votes on one item are alike. Its face: `report.analyse`.
"""
