" Colours of rule files. With the language server running, its semantic tokens say what each name is.
if exists("b:current_syntax")
  finish
endif

syntax match achName "\<[a-z][a-z0-9_]*\>"
syntax match achEvent "\<[a-z][a-z0-9_]*\%(\.[a-z][a-z0-9_]*\)\+\>"
syntax match achKey "\<[a-z][a-z0-9_]*\ze\s*:"
syntax match achType "\%(:\s*\)\@<=\%(string\|int\|decimal\|bool\|timestamp\|user\)\>"
syntax match achDeclaration "^\%(event\|traits\s\+from\|list\|achievement\|example\)\ze\s\+\S"
syntax match achDeclaration "\<for\s\+each\>\ze\s\+[a-z]"
syntax match achVariable "\$[a-z][a-z0-9_]*"
syntax match achClause "\%(^\|[{ ]\)\@<=\%(title\|about\|when\|for\|after\|active\|reveal\|reward\|repeat\|scope\|family\|settle\|renamed\|tier\)\ze\s\+[^ =:,)\]}]"
syntax match achClause "\<\%(once\s\+per\|version\|fresh\)\>\ze\s*[a-z0-9{]"
syntax match achStory "\<\%(at\|expect\|times\|every\|tenant\|occurrence\|progress\)\>\ze\s\+[a-z0-9"]"
syntax match achWord "\<\%(where\|and\|or\|not\|in\|is\|present\|as\|starts\s\+with\|ends\s\+with\|contains\)\>\ze\s\+\S"
syntax match achOperator "\<\%(count\|sum\|max\|min\|streak\|sequence\|all\|any\|at_least\|unlocked\|length\|lower\|size\)\ze\s*("
syntax match achArgument "\<\%(event\|distinct\|of\|by\|within\|per\|unless\|tz\|min\|grace\)\ze\s*=[^=]"
syntax keyword achBoolean true false null
syntax match achNumber "\<-\?\d[0-9_]*\%(\.\d\+\)\?\%([eE][+-]\?\d\+\)\?\>"
syntax match achDuration "\<\d[0-9_]*[smhdw]\>"
syntax match achPercent "\<\d\+%"
syntax match achInstant "\<\d\{4}-\d\d-\d\d[Tt][0-9:.]\+\%([Zz]\|[+-][0-9:]\+\)"
syntax region achString start=+"+ skip=+\\.+ end=+"\|$+ contains=achEscape,achPlaceholder
syntax match achEscape +\\\%(["\\/bfnrt]\|u\x\{4}\)+ contained
syntax match achPlaceholder "{n}" contained
syntax match achComment "#.*$" contains=@Spell

highlight default link achEvent Type
highlight default link achKey Identifier
highlight default link achType Type
highlight default link achDeclaration Keyword
highlight default link achClause Statement
highlight default link achStory Statement
highlight default link achWord Operator
highlight default link achOperator Function
highlight default link achArgument Identifier
highlight default link achBoolean Boolean
highlight default link achNumber Number
highlight default link achDuration Number
highlight default link achPercent Number
highlight default link achInstant Number
highlight default link achString String
highlight default link achEscape SpecialChar
highlight default link achPlaceholder SpecialChar
highlight default link achVariable Identifier
highlight default link achComment Comment

let b:current_syntax = "ach"
