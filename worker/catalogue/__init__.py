"""`ach docs`: a rule set as one page to read, made of what the rules say and nothing else.

`view` says what stands on the page, `page` and its template how it looks.
"""
