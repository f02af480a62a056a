"""Queries of an editor on rule files: the meaning of a name, its references, the valid text at a place.

Pure, like all of the language. The syntax trees answer if possible; for unfinished text, as while typing, the tokens
do.

  scan      any text to tokens
  pieces    a file, one declaration at a time
  index     names and their meanings, over all files
    renaming  every place that a new name must be written to
  place     the valid text at a place: the clause, argument, field or line that is being written
  fixes     the fixes for a problem
  memory    the stored progress, in words
"""
