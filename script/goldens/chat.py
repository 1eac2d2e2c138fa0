#!/usr/bin/env python3
"""What Jinja, set up as transformers sets it up, makes of chat templates (bench/peers/requirements.txt pins the versions).

Writes tests/data/text/chat.json: templates (files of tests/data/text/chat, or short ones that are given in full), variables, and the
text or "error".

usage: script/goldens/chat.py
"""

import datetime
import json
import random
import warnings
import zlib
from pathlib import Path

import jinja2
import transformers.utils.chat_template_utils as peer

OUTPUT = Path(__file__).resolve().parents[2] / "tests" / "data" / "text"
NOW = datetime.datetime(2024, 7, 26, 13, 5, 9)


class FixedDate(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


peer.datetime = FixedDate

TOOLS = [
    {"type": "function", "function": {"name": "weather", "description": "Tells the weather", "parameters": {
        "type": "object", "properties": {"place": {"type": "string", "description": "Where? \"Zürich\" <b>"},
                                         "unit": {"type": "string", "enum": ["C", "F"], "default": "C"},
                                         "days": {"type": "array", "items": {"type": "integer"}},
                                         "options": {"type": "object", "properties": {"deep": {"type": "number", "default": 1.5}}}},
        "required": ["place"]}, "return": {"type": "string"}}},
    {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}},
]


def message(role, content, **more):
    return {"role": role, "content": content, **more}


USER, ANSWER, SYSTEM = message("user", "  Hello, 世界!\n"), message("assistant", "Hi 😀 {{ x }} {% y %}\n"), message("system", "Be <brief>.")
CALL = message("assistant", "", tool_calls=[{"id": "abcdefghi", "type": "function",
                                             "function": {"name": "weather", "arguments": {"place": "Zürich", "days": [1, 2.5, None, True]}}}])
RESULT = message("tool", "rain", tool_call_id="abcdefghi", name="weather")
THOUGHT = message("assistant", "<think>\nlet me see\n</think>\n\nIt rains.")
REASONED = message("assistant", "It rains.", reasoning_content="\nlet me see\n")
CONVERSATIONS = [
    [USER], [SYSTEM, USER], [USER, ANSWER, USER], [SYSTEM, USER, ANSWER, USER, ANSWER], [USER, CALL, RESULT], [USER, CALL, RESULT, RESULT, THOUGHT],
    [SYSTEM, USER, THOUGHT, USER, REASONED, USER], [USER, USER], [ANSWER], [USER, message("strange", "x")], [USER, message("user", None)],
    [message("user", [{"type": "image"}, {"type": "text", "text": " What is this? "}])], [USER, message("hidden", "x"), ANSWER], [],
    [USER, message("assistant", None, tool_calls=CALL["tool_calls"] * 2)], [message("user", "<result>\nx\n</result>"), THOUGHT],
]
OPTIONS = [{}, {"add_generation_prompt": True}, {"tools": TOOLS, "add_generation_prompt": True}, {"tools": None, "enable_thinking": False,
            "add_generation_prompt": True}, {"date_string": "never", "tools": TOOLS[:1]}]

SNIPPETS = [
    # White space.
    "a\n  {% if true %}\n  b\n  {% endif %}\nc\n", "a  {%- if true -%}  \n b \n {%- endif -%}\n\n c", "  {{- 1 -}}  \n x", "{# c #}\n  {# d #}\nx {# e #}\ny",
    "a\n  {%+ if true %}\nb{% endif +%}\nc", "x\n\n", "x\n", "\n{% set a = 1 %}\n{{ a }}\n", "{% if true %}\r\na\r\n{% endif %}\r\n", "  {%- set a = 1 %}\n  {{ a }}  \n",
    "{{ '{%' }} {{ \"#}\" }} { { }} %}", "a{#- b -#} c", "{% for i in [1,2] %}\n  {{ i }}\n{% endfor %}\nend",
    # Literals and their text.
    "{{ 1 }} {{ 1.0 }} {{ 1e3 }} {{ 2.5e-7 }} {{ 1e22 }} {{ 123456789.125 }} {{ 0.1 + 0.2 }} {{ 1_000 }}", "{{ true }} {{ True }} {{ none }} {{ None }} {{ x }}",
    "{{ [1, 'a', \"it's\", none, true, [2.0, {'k': 'v\\n'}]] }}", "{{ {'a': 1, 2: 'b', 'é': ['\\t', '\\\\']} }}", "{{ 'a' 'b' \"c\" }}", "{{ '\\u00e9\\x41\\n\\'\\d' }}",
    "{{ 'tab\\there' | tojson }}",
    # Operators.
    "{{ 1 + 2 * 3 - 4 / 2 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 2 ** 10 }} {{ 7 / 2 }} {{ 7.5 // 2 }} {{ -7.5 % 2 }}",
    "{{ 'a' + 'b' ~ 1 ~ none }} {{ 'ab' * 3 }} {{ 3 * 'x' }} {{ [1] + [2] }} {{ [0] * 3 }}", "{{ 1 == 1.0 }} {{ true == 1 }} {{ '1' == 1 }} {{ [1,2] == [1,2] }} {{ {'a': 1} == {'a': 1.0} }}",
    "{{ 1 < 2 }} {{ 'a' < 'b' }} {{ 'é' > 'z' }} {{ 2 >= 2.0 }} {{ 1 != 2 }}", "{{ 'a' in 'abc' }} {{ 2 in [1,2] }} {{ 'k' in {'k': 1} }} {{ 'x' not in 'abc' }} {{ 1 in [] }}",
    "{{ not true }} {{ not 0 }} {{ true and 'x' }} {{ '' or 'y' }} {{ 0 and 1 }} {{ none or none }}", "{{ 'a' if true else 'b' }} {{ 'a' if false }} {{ 'a' if 0 else 'b' if 1 else 'c' }}",
    "{{ -2 ** 2 }} {{ (1 + 2) * 3 }} {{ not 1 == 2 }} {{ 1 + 1 | string }} {{ -3 | abs }} {{ (-3) | abs }} {{ 'a' ~ 'b' | upper }}",
    "{{ 1 if x is defined else 2 }} {{ x is not defined and true }} {{ 3 is odd }} {{ 4 is divisibleby 2 }} {{ 4 is divisibleby(3) }}", "{{ 1 / 0 }}", "{{ 'a' + 1 }}", "{{ 1 < 'a' }}", "{{ none + 1 }}",
    # Subscripts, slices, methods.
    "{{ 'héllo'[1] }} {{ 'héllo'[-1] }} {{ 'héllo'[1:3] }} {{ 'héllo'[::-1] }} {{ 'héllo'[:-2] }} {{ 'abc'[5:] }}|{{ 'abc'[9] }}|", "{{ [1,2,3,4,5][1:4:2] }} {{ [1,2,3][::-1] }} {{ [1,2,3][-2:] }} {{ [1,2,3][5:1:-1] }} {{ [1,2,3][-9:2] }}",
    "{{ {'a': {'b': [10, 20]}}.a.b[1] }} {{ {'a': 1}['a'] }} {{ {'a': 1}.b }}| {{ {'items': 5}['items'] }}", "{{ x.y }}", "{{ x['y'] }}", "{{ {'a': 1}.b.c }}", "{{ [1,2].0 }} {{ [[1,2]].0.1 }}",
    "{{ '  a b '.strip() }}|{{ '  a '.lstrip() }}|{{ ' a  '.rstrip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'abcba'.lstrip('ab') }}|{{ 'a\\n\\n'.rstrip('\\n') }}", "{{ 'a,b,,c'.split(',') }} {{ ' a  b '.split() }} {{ 'a,b,c'.split(',', 1) }} {{ 'a b c'.split(none, 1) }} {{ 'a-b-c'.rsplit('-', 1) }}",
    "{{ 'Hello World'.upper() }} {{ 'ÄÖ ß'.lower() }} {{ 'straße'.upper() }} {{ 'hello wORLD x2y'.title() }} {{ 'hELLO W'.capitalize() }}", "{{ 'abc'.startswith('ab') }} {{ 'abc'.endswith(('x', 'c')) }} {{ 'aXbXc'.replace('X', '--') }} {{ 'aaa'.replace('a', 'b', 2) }}",
    "{{ 'abc'.find('c') }} {{ 'éabc'.find('c') }} {{ 'abc'.find('z') }} {{ 'banana'.count('an') }} {{ '12'.isdigit() }} {{ ''.isdigit() }}", "{{ ', '.join(['a', 'b']) }} {{ 'a\\nb\\r\\nc'.splitlines() }} {{ 'abc'.removeprefix('a') }} {{ 'abc'.removesuffix('c') }}",
    "{{ {'a': 1, 'b': 2}.items() | list }} {% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}={{ v }};{% endfor %} {{ {'a': 1}.keys() | list }} {{ {'a': 1}.values() | list }} {{ {'a': 1}.get('b', 7) }} {{ {'a': 1}.get('z') }}",
    # Filters.
    "{{ ' a ' | trim }}|{{ 'xax' | trim('x') }}|{{ 'aB' | upper }}{{ 'aB' | lower }}|{{ 'ab cd' | title }}|{{ 'aB' | capitalize }}", "{{ [1,2,3] | length }} {{ 'é日' | length }} {{ {} | length }} {{ 'abc' | count }}", "{{ x | default('d') }} {{ '' | default('d') }} {{ '' | default('d', true) }} {{ none | d('e') }} {{ none | default('e', boolean=true) }}",
    "{{ [1, 'a', 2.5] | join(', ') }} {{ [] | join }} {{ 'abc' | join('-') }} {{ [{'n': 1}, {'n': 2}] | join('+', attribute='n') }}", "{{ [3,1,2] | first }} {{ [3,1,2] | last }} {{ [] | first }}| {{ 'abc' | last }} {{ [3,1,2] | sort }} {{ ['b','A','c'] | sort }} {{ [3,1] | sort(reverse=true) }}",
    "{{ 'abc' | replace('b', 'x') }} {{ 'aaa' | replace('a', 'b', 1) }} {{ 'abc' | list }} {{ 'abc' | reverse }} {{ [1,2] | reverse | list }}", "{{ {'b': 1, 'a': 2} | items | list }} {{ {'b': 1, 'a': 2} | dictsort }} {{ 5 | string + '1' }} {{ '42' | int + 1 }} {{ 'x' | int(9) }} {{ '3.7' | int }} {{ '1.5' | float }} {{ 3.9 | int }}",
    "{{ [{'a': 1}, {'a': 2}, {}] | map(attribute='a') | list }} {{ ['a', 'b'] | map('upper') | join }} {{ [1,2,3,4] | select('odd') | list }} {{ [1,2,3] | reject('equalto', 2) | list }}", "{{ [{'r': 'u', 'n': 1}, {'r': 's', 'n': 2}] | selectattr('r', 'equalto', 'u') | map(attribute='n') | list }} {{ [{'r': 1}, {'q': 2}] | rejectattr('r', 'defined') | list }} {{ [{'r': 0}, {'r': 2}] | selectattr('r') | list }}",
    "{{ [1,2,2,3,1] | unique | list }} {{ [1,2,3] | sum }} {{ [4,2] | min }} {{ [4,2] | max }} {{ -1.5 | abs }} {{ 2.567 | round(2) }} {{ 2.5 | round }} {{ 2.1 | round(method='ceil') }}", "{{ 'a\\nb\\n\\nc' | indent }}|{{ 'a\\nb' | indent(2, true) }}", "{{ '<a href=\"x\">&' | escape }} {{ '<b>' | safe }}",
    "{{ {'a': [1, 2.0, none, true], 'é': '\"\\\\\\n\\u0001</script>'} | tojson }}", "{{ {'b': 1, 'a': {'c': [], 'd': {}}} | tojson(indent=2) }}", "{{ [1, [2, {'a': 3}]] | tojson(indent=4) }} {{ 'é😀' | tojson(ensure_ascii=true) }} {{ {'b': 1, 'a': 2} | tojson(sort_keys=true) }}", "{{ x | tojson }}", "{{ 5 | nonsense }}", "{{ 5 | upper | lower }}",
    # Tests.
    "{{ none is none }} {{ 'a' is string }} {{ {} is mapping }} {{ [] is sequence }} {{ 'a' is iterable }} {{ 1 is number }} {{ 1.0 is number }} {{ true is number }} {{ 1 is integer }} {{ true is integer }} {{ 1.0 is float }} {{ true is boolean }} {{ 1 is boolean }} {{ true is true }} {{ 1 is true }} {{ 0 is false }}",
    "{{ 1 is eq 1 }} {{ 1 is ne 2 }} {{ 1 is lt 2 }} {{ 2 is gt(1) }} {{ 1 is in [1, 2] }} {{ 'a' is lower }} {{ 'A' is upper }} {{ [] is not string }} {{ range is callable }} {{ x is undefined }} {{ 5 is even }} {{ none is not none }}", "{{ 1 is nonsense }}",
    # Statements.
    "{% if 0 %}a{% elif [] %}b{% elif 'x' %}c{% else %}d{% endif %}", "{% for i in range(3) %}{{ i }}{% if not loop.last %}, {% endif %}{% endfor %} {{ range(2, 10, 3) | list }} {{ range(3, 0, -1) | list }}", "{% for x in [] %}a{% else %}empty{% endfor %}", "{% for k in {'a': 1, 'b': 2} %}{{ k }}{% endfor %} {% for c in 'héy' %}{{ c }}.{% endfor %}",
    "{% for a in [1,2,3] %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.cycle('x', 'y') }}{{ loop.depth }} {% endfor %}", "{% for a, b in [[1, 2], [3, 4]] %}{{ a }}{{ b }}{% endfor %} {% for (a, b) in [(1, 2)] %}{{ a + b }}{% endfor %}",
    "{% for i in range(6) if i % 2 == 0 %}{{ loop.index }}:{{ i }} {% endfor %}", "{% for i in range(9) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}", "{% set a = 1 %}{% for i in [1,2] %}{% set a = a + i %}{{ a }}{% endfor %}{{ a }}", "{% set ns = namespace(n=0, l=[]) %}{% for i in [1,2,3] %}{% set ns.n = ns.n + i %}{% set ns.l = ns.l + [i] %}{% endfor %}{{ ns.n }}{{ ns.l }}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }} {% set c = 1, 2 %}{{ c | list }}", "{% set t %}  x {{ 1 + 1 }}\n{% endset %}[{{ t }}] {% set u | trim | upper %} y {% endset %}[{{ u }}]", "{% if true %}{% set a = 5 %}{% endif %}{{ a }}", "{% macro m(a, b='B', c=none) %}{{ a }}{{ b }}{{ c }}|{% endmacro %}{{ m(1) }}{{ m(1, 2) }}{{ m(a=3, c=4) }}{{ m() }}", "{% macro f(n) %}{{ n }}{% if n > 0 %},{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(4) }}",
    "{% macro g() %}{{ outer }}{% endmacro %}{% set outer = 'late' %}{{ g() }}{% for i in [1] %}{% set outer = 'inner' %}{{ g() }}{% endfor %}", "{% generation %}a{% endgeneration %}\nb", "{% for i in [[1,2],[3]] %}{% for j in i %}{{ loop.index }}{{ j }}{% endfor %}{{ loop.index }};{% endfor %}", "{{ raise_exception('no ' ~ 1) }}", "{{ strftime_now('%Y-%m-%d %H:%M:%S %A %B %j') }} [{{ strftime_now('') }}]",
    "{% set d = dict(a=1, b='x') %}{{ d.a }}{{ d }}", "{{ unknown_function(1) }}", "{{ x() }}", "{% set x.y = 1 %}", "{% for i in 5 %}{% endfor %}", "{% for i in none %}{% endfor %}", "{% for a, b in [[1]] %}{% endfor %}", "{{ 'abc'.nonsense() }}", "{% if %}a{% endif %}", "{% if true %}", "{% endif %}", "{{ 1 + }}", "{{ (1 }}", "{{ 'a }}", "{% unknown %}", "{# open", "{{", "{% for %}{% endfor %}", "{{ 1 2 }}", "{{ [1, }}", "{{ a b }}", "{% set = 1 %}", "{% macro m(a=1, b) %}{% endmacro %}",
    # Iterators and views, which are no lists.
    "{% if [] | select %}a{% endif %}{% if messages | selectattr('role', 'equalto', 'nobody') %}b{% endif %}{% if {}.keys() %}c{% endif %}", "{{ [1] | map('string') | length }}", "{{ [1] | map('string') | tojson }}",
    "{% set g = [1,2] | map('string') %}{% for a in g %}{{ a }}{% endfor %}|{% for a in g %}{{ a }}{% endfor %}{{ g | list }}", "{% set g = [1,2,3] | select %}{{ g | first }}{{ g | list }}", "{% set g = [1,2,3] | select %}{{ 2 in g }}{{ g | list }}",
    "{% set g = [1,2] | reverse %}{{ g[0] }}{{ g | list }}", "{{ [1,2] | select | last }}", "{{ ([1,2] | select) + [3] }}", "{{ [1] | select == [1] }} {{ [1] | select is sequence }} {{ [1] | select is iterable }}", "{{ {'a': 1}.items() | tojson }}",
    "{% set d = {'a': 1, 'b': 'x'} %}{{ d.items() }} {{ d.keys() }} {{ d.values() }} {{ d.items() | length }} {{ d.keys()[0] }} {{ 'a' in d.keys() }} {{ d.keys() is sequence }}", "{{ {'a': 1} | items | tojson }}", "{{ {'b': 1, 'a': 2}.items() | sort }}",
    # Texts that are marked as safe.
    "{{ 'a' | safe + '<b>' }}|{{ '<b>' + 'a' | safe }}|{{ 'a' | safe ~ '<b>' }}|{{ '<' | e + '<' }}|{{ '<' | e | e }}", "{{ ('<' | safe).strip() + '<' }}|{{ '<' | safe | trim + '<' }}|{{ '<' | safe | upper + '<' }}|{{ '<x' | safe | replace('x', '<') + '<' }}",
    "{{ ['<' | safe, '<'] | join }}|{{ '<' | safe | string + '<' }}|{{ ('<' | safe) * 2 + '<' }}|{{ ('<<' | safe)[0] + '<' }}|{{ ('<<' | safe)[1:] + '<' }}|{{ ('a' | safe) is escaped }}{{ 'a' is escaped }}",
    "{{ (1, 2, 3)[1:] }}{{ (1, 2)[::-1] }}", "{{ [1] | indent }}",
    # Formats.
    "{{ '<a{}b{}>'.format(1, 'x') }}|{{ '{0}{1}{0}'.format('a', 'b') }}|{{ '{a}-{b}'.format(a=1, b=[1]) }}|{{ '{{}}{}'.format(none) }}", "{{ '{}'.format() }}", "{{ '{x}'.format(1) }}", "{{ '{} {0}'.format(1) }}", "{{ '{'.format() }}", "{{ '}'.format() }}",
    "{{ '%s is %d%%' % ('a', 3.7) }} {{ '%s' % 'a' }} {{ '%s' % [1] }} {{ '%s %s' | format('a', 2) }}", "{{ '%s %s' % 'a' }}", "{{ '%s' % ('a', 'b') }}", "{{ '%d' % 'a' }}",
    # Chains of comparisons, and the order of lists.
    "{{ 1 < 2 < 3 }} {{ 3 > 2 > 2 }} {{ 1 == 1 == true }} {{ 1 < 2 in [2] }} {{ 2 < 1 < x.y }}", "{{ [1,2] < [1,3] }} {{ (1,2) > (1,1) }} {{ [1] < [1,0] }} {{ [[2,1],[1,9],[1,2]] | sort }}", "{{ [1] < (1,) }}",
    # Numbers, and what is looked for in strings.
    "{{ '1_000' | int }} {{ '0x1f' | int }} {{ '1__0' | int }} {{ '1e3' | int }} {{ ' 7 ' | int }} {{ '0x1f' | float }} {{ 5 | round }} {{ 5 | round(1, 'floor') }} {{ -0.0 }}", "{{ ['b','B'] | unique(case_sensitive=true) | list }} {{ [{'a': 1}, {'a': 1}] | unique(attribute='a') | list }} {{ [{'a': 3}, {'a': 1}] | min(attribute='a') }} {{ ['b','A'] | max }}",
    "{{ {'b': 1, 'A': 2} | dictsort }} {{ {'b': 1, 'A': 2} | dictsort(true) }} {{ {'b': 1, 'a': 2} | dictsort(by='value', reverse=true) }}", "{{ ['a'] | sum(start='') }}", "{{ ','.join([1]) }}", "{{ {'b': 1, 'a': [1,2]} | tojson(separators=(',', ':')) }} {{ {'b': [1,2]} | tojson(indent=1, separators=(' ,', ': ')) }}",
    "{{ 'a-b-c'.partition('-') }} {{ 'a-b-c'.rpartition('-') }} {{ 'abc'.rpartition('-') }} {{ 'abcb'.rfind('b') }} {{ 'abc'.index('c') }} {{ {'a': 1}.copy() }} {{ [1].copy() }}", "{{ 'abc'.index('z') }}", "{{ 'aé'.isalpha() }} {{ 'a1'.isalnum() }} {{ 'A1'.isupper() }} {{ '1'.isupper() }} {{ 'a b'.islower() }} {{ ' \\t'.isspace() }} {{ ''.isalpha() }}",
    "{{ 'a\\nb\\x0bc\\u2028d\\r\\ne\\r'.splitlines() }} {{ 'a\\nb'.splitlines(true) }} {{ 'a\\n\\nb\\n'.splitlines() }}", "{{ ['\\u200b\\u00a0\\ufeff\\x85'] }}", "{% for a in [1] %}{% for b in [1] %}{{ loop.depth }}{% endfor %}{% endfor %}", "[{{ strftime_now('%Z%z%%Z') }}]",
    "{% set x = [1,2] %}{% set y = x %}{{ x == y }} {{ x is sameas y }}", "{{ messages[0].content[:5] }} {{ messages | map(attribute='role') | join(',') }} {{ (messages | last).role }} {{ messages[-1]['role'] }}", "{% for m in messages %}{{ m['content'] | length if m.content else 0 }} {% endfor %}", "{{ bos_token + 'x' if bos_token is defined else '' }}", "{{ messages[0] }}",
]


EXPRESSION_VARIABLES = {"n": 3, "s": "Straße x", "l": [3, 1, 2], "d": {"k": "v", "z": [1, None]}}


def tidy(variables):
    return {"bos_token": "<s>", "eos_token": "</s>", **variables}


def render(source, variables):
    try:
        return {"text": peer._cached_compile_jinja_template(source).render(**variables)}
    except (jinja2.TemplateError, TypeError, ZeroDivisionError, ValueError, AttributeError, LookupError) as error:
        return {"error": f"{type(error).__name__}: {error}"}


def expressions(seed, count):
    """Random expressions over a few variables; those that Jinja refuses are left out."""
    rng = random.Random(seed)
    atoms = ["1", "0", "2.5", "'a b'", "''", "'Ab,c'", "[1, 2, 3]", "[]", "none", "true", "n", "s", "l", "d", "d.k", "d['z']", "undefined_name", "l[0]", "s[1:]"]
    filters = ["upper", "lower", "trim", "length", "list", "first", "last", "string", "tojson", "default('q')", "default('q', true)", "reverse | list", "join('-')", "sort", "int", "abs",
               "replace('a', 'X')", "title", "unique | list", "sum"]
    tests = ["defined", "none", "string", "mapping", "sequence", "iterable", "number", "true", "boolean", "in l", "eq n", "odd"]

    def make(depth):
        kind = rng.randrange(9) if depth > 0 else 0
        if kind <= 1:
            return rng.choice(atoms)
        if kind == 2:
            return f"({make(depth - 1)} {rng.choice(['+', '-', '*', '~', '==', '!=', '<', 'and', 'or', 'in', 'not in', '%', '//'])} {make(depth - 1)})"
        if kind in (3, 4):
            return f"({make(depth - 1)} | {rng.choice(filters)})"
        if kind == 5:
            return f"({make(depth - 1)} is {rng.choice(['', 'not '])}{rng.choice(tests)})"
        if kind == 6:
            return f"({make(depth - 1)} if {make(depth - 1)} else {make(depth - 1)})"
        if kind == 7:
            return f"(not {make(depth - 1)})"
        return f"{make(depth - 1)}[{rng.choice(['0', '-1', ':2', '::-1', '1:'])}]"

    cases = []
    while len(cases) < count:
        source = "{{ " + make(3) + " }}"
        result = render(source, EXPRESSION_VARIABLES)
        if "text" in result and "generator object" not in result["text"] and "<" not in result["text"]:
            cases.append({"template": source, **result})
    return cases


def short(result):
    """Long texts as their checksums."""
    text = result.get("text", "").encode()
    return {"bytes": len(text), "crc32": zlib.crc32(text)} if len(text) > 300 else result


def main():
    warnings.simplefilter("ignore")  # Python's about expressions such as 1[0]
    files = []
    for file in sorted((OUTPUT / "chat").glob("*.jinja")):
        source = file.read_text(encoding="utf-8")
        results = [[short(render(source, tidy({"messages": messages, **options}))) for options in OPTIONS] for messages in CONVERSATIONS]
        files.append({"file": file.name, "results": results})
    snippets = [{"template": source, **render(source, tidy({"messages": [SYSTEM, USER, ANSWER]}))} for source in SNIPPETS]
    golden = {"conversations": CONVERSATIONS, "options": OPTIONS, "files": files, "snippet_messages": [SYSTEM, USER, ANSWER], "snippets": snippets,
              "expression_variables": EXPRESSION_VARIABLES, "expressions": expressions(seed=3, count=600)}
    path = OUTPUT / "chat.json"
    lines = [f"{json.dumps(key)}: [\n" + ",\n".join(json.dumps(item, ensure_ascii=False) for item in value) + "\n]" if isinstance(value, list)
             else f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in golden.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    print(f"{path.relative_to(OUTPUT.parents[2])}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
