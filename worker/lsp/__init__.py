"""`ach lsp`: a language server, so that editors can say what rules mean while they are written.

  positions    offsets and the protocol's lines and columns
  rulebook     the files of one rule set, as last read, and everything known about them
  desk         all rule sets of an editor: which file belongs to which, what is open
  problems     diagnostics; hover, completion, navigation, renaming, outline, formatting, actions, lenses, colours:
               a module a feature, each a function from the desk and the editor's question to an answer
  server       the table of features, and the only one that talks

Everything but `server` is a value or a function; what a question needs to know of the language is in dsl/lookup.
"""
