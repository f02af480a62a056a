"""Questions that an editor asks of rule files: what a name means, who else says it, what may stand at a place.

Pure, like all of the language. The trees answer where they can; where the text is unfinished, as it is while somebody
types, its tokens do.

  scan      text to tokens, whatever the text
  pieces    a file, a declaration at a time
  index     names and what they mean, over all files
  renaming  every place that a new name has to be written to
  place     what may stand at a place: the clause, argument, field or line that is being written
  fixes     what would mend a problem
  memory    what progress remembers, in words
"""
