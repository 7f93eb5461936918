-- Categories by rule. Each is a condition on `content` (what the users wrote in a battle) and `turns` (how often they wrote).
-- A rule is a rule: it looks for words and signs, in English where words are meant; docs/measuring.md says what that cannot see.

-- name: english
regexp_matches(content, '[a-z]') AND NOT regexp_matches(content, '[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Cyrillic}\p{Arabic}\p{Devanagari}\p{Greek}\p{Hebrew}\p{Thai}]')
AND occurrences(content, '\b(the|is|are|of|and|to|what|how|in|for|with|you|that|write|this)\b')
    >= occurrences(content, '\b(der|die|das|und|ist|nicht|ein|eine|wie|le|la|les|des|est|une|el|los|las|que|por|una|il|che|per|della)\b')

-- name: german
occurrences(content, '\b(der|die|das|und|ist|nicht|ein|eine|einen|wie|ich|mit|für|auf|den|zu|von)\b')
    > greatest(1, occurrences(content, '\b(the|is|are|of|and|to|what|how|in|for|with|you)\b'))

-- name: french
occurrences(content, '\b(le|la|les|des|est|une|un|et|que|qui|pour|dans|avec|vous|je|du|au)\b')
    > greatest(1, occurrences(content, '\b(the|is|are|of|and|to|what|how|in|for|with|you)\b'),
               occurrences(content, '\b(el|los|las|por|una|con|para|del|como|es|y)\b'))

-- name: spanish
occurrences(content, '\b(el|los|las|que|por|una|un|con|para|del|como|es|en|y|de)\b')
    > greatest(1, occurrences(content, '\b(the|is|are|of|and|to|what|how|in|for|with|you)\b'),
               occurrences(content, '\b(le|les|des|est|une|et|qui|pour|dans|avec|vous|je|du|au)\b'))

-- name: chinese
regexp_matches(content, '\p{Han}') AND NOT regexp_matches(content, '[\p{Hiragana}\p{Katakana}]')

-- name: japanese
regexp_matches(content, '[\p{Hiragana}\p{Katakana}]')

-- name: korean
regexp_matches(content, '\p{Hangul}')

-- name: russian
regexp_matches(content, '\p{Cyrillic}')

-- name: short
length(content) < 100

-- name: long
length(content) >= 500

-- name: multi-turn
turns > 1

-- name: code
regexp_matches(content, '```|\bdef \w+\(|#include\b|console\.log|</\w+>|\bselect\b.{1,200}\bfrom\b|\bfunction\s*\w*\(')
OR regexp_matches(content, '\b(python|javascript|typescript|java|golang|rust|kotlin|sql|html|css|bash|regex|json|yaml|code|coding|compile|compiler|debug|algorithm|unit tests?)\b|\bc\+\+|\bc#')

-- name: maths
regexp_matches(content, '\b(equation|integral|derivative|theorem|probability|calculate|algebra|geometry|matrix|polynomial|logarithm|square root|prime numbers?|prove that|maths?|mathematics|arithmetic)\b')
OR regexp_matches(content, '\d\s*[-+*/×÷^=]\s*\d|\\frac|\\int|\\sum|\$\$')
OR (occurrences(content, '\d+') >= 2 AND regexp_matches(content, '\bhow (many|much|old|far|long)\b'))

-- name: creative
regexp_matches(content, '\b(story|poem|poetry|song|lyrics|haiku|limerick|sonnet|novel|screenplay|fiction|fairy tale|rap|slogan|tagline|joke|parody|ballad|rhyme|acrostic)\b')
OR regexp_matches(content, '\b(imagine|pretend|role-?play|invent)\b')

-- name: hard
-- At least three of: many words, numbers, requirements, several steps, code or formulas, reasons asked for.
(CASE WHEN occurrences(content, '[^\s]+') >= 40 THEN 1 ELSE 0 END)
+ (CASE WHEN occurrences(content, '\d+') >= 2 THEN 1 ELSE 0 END)
+ (CASE WHEN regexp_matches(content, '\b(must|should|exactly|at least|at most|only|without|do not|don''t|ensure|constraints?|requirements?)\b') THEN 1 ELSE 0 END)
+ (CASE WHEN regexp_matches(content, '\b(step[- ]by[- ]step|first|then|finally|steps?|each of|for each)\b|(^|\n)\s*\d+[.)]\s') THEN 1 ELSE 0 END)
+ (CASE WHEN regexp_matches(content, '```|\bdef \w+\(|\d\s*[-+*/^=]\s*\d|\\frac|\b(algorithm|function|implement|prove|equation|theorem|code)\b') THEN 1 ELSE 0 END)
+ (CASE WHEN regexp_matches(content, '\b(why|explain|analy[sz]e|compare|evaluate|derive|optimi[sz]e|trade-?offs?|reasoning)\b') THEN 1 ELSE 0 END)
>= 3
