#!/usr/bin/env python3
"""Renders every case below with jinja2 and writes down what came out: cases.jsonl and chats.jsonl, beside this file.

A chat is one of templates/*.jinja with a conversation and what comes with it; both are in chat_vars.json.

usage: pip install jinja2==3.1.6; tests/data/jinja/make_cases.py

A case is a template and the values of its variables; VARS are there when it names none. Cases that fail in jinja2
are kept as {"error": true}: they have to fail here too.
"""
import copy
import datetime
import json
import pathlib

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import SandboxedEnvironment

HERE = pathlib.Path(__file__).resolve().parent
NOW = 1753351330  # 24 July 2025, 10:02:10 UTC, a Thursday

VARS = {
    "s": "Hello, World",
    "u": "Größe ΣΑΣ ﬁn ǆ ✓\u00a0x",
    "e": "",
    "n": None,
    "t": True,
    "f": False,
    "i": 7,
    "neg": -7,
    "x": 2.5,
    "big": 9007199254740993,
    "l": [3, 1, 2],
    "w": ["b", "A", "c", "a"],
    "d": {"b": 1, "a": [1, {"k": None}], "Z": "z"},
    "items": [{"n": "x", "v": 1, "o": {"p": 1}}, {"n": "y", "v": 2, "o": {"p": 2}}, {"n": "X", "v": 3}],
    "html": "<a href=\"x\">'&'</a>",
    "ws": "  \t a b \n\n c  ",
    "deep": {"items": 1, "keys": {"get": "got"}, "x y": 5, "1": "one"},
}

CASES = {
    "text": r"""
plain
a{{ 1 }}b
{{ s }}
{{s}}{{ e }}{{ n }}{{ t }}{{ f }}{{ i }}{{ x }}
{{ missing }}|{{ d.missing }}|{{ d['missing'] }}|{{ l[9] }}
{{ l }} {{ w }} {{ d }} {{ (1,) }} {{ (1, 'a') }} {{ () }} {{ [] }} {{ {} }}
{{ 'a\'b' }} {{ "a\"b" }} {{ ['it\'s', "q\"q", 'b\\s', '\'"'] }} {{ ['\n\t\r\x01\x7f'] }}
{{ u }} {{ [u] }}
{{ '\x41\u00e9\U0001f600\101\q\a'|tojson }}
{{ 'a' 'b' "c" }}
{{ 1_000 }} {{ 0x1F }} {{ 0b101 }} {{ 0o17 }} {{ 1e3 }} {{ 1.5e-7 }} {{ 1_0.2_5 }}
{{ 1, 2 }}
{{ true }} {{ True }} {{ none }} {{ None }} {{ false }}
{{ big }} {{ big + 1 }} {{ -big }}
{{ 0.1 + 0.2 }} {{ 1.0 }} {{ 1e16 }} {{ 123456789012345.6 }} {{ 1e15 }} {{ 0.0001 }} {{ 0.00001 }} {{ 1e100 }} {{ -0.0 }} {{ 5e-324 }} {{ 1.7976931348623157e308 }}
""",
    "space": [
        "a\n{% if t %}\nb\n{% endif %}\nc\n",
        "a\n  {% if t %}\n  b\n  {% endif %}\n  c\n\n",
        "a  {%- if t -%}  b  {%- endif -%}  c",
        "a\n\n{{- s -}}\n\nb",
        "a {#- c -#} b",
        "a\n  {# c #}\nb",
        "a\n  {#+ c #}\n  b",
        "  {%+ if t %}x{% endif +%}\ny",
        "  {% if t +%}\nx{% endif %}",
        "x {% if t %} y {% endif %} z",
        "{% if t %}\n\n  x\n\n{% endif %}\n\n",
        "\n{% set a = 1 %}\n\n{{ a }}\n",
        "a\r\n{% if t %}\r\nb\r\n{% endif %}\rc\r\n",
        "{% raw %}\n{{ x }} {% if %}\n{% endraw %}\nz",
        "{%- raw -%}  {{ x }}  {%- endraw -%}  z",
        "a\n   {% raw %}  q {% endraw %}\nb",
        "a\n   {%+ raw %}  q\n  {%+ endraw %}\nb",
        "\t{% if t %}\tx{% endif %}",
        "x\u00a0\u3000{%- if t -%}\u2003y{%- endif %}",
        "{{ 1 }}\n{{ 2 }}\n  {{ 3 }}\n",
        "{{ 1 }}   {% if t %}x{% endif %}",
        "{# a #}   {% if t %}x{% endif %}",
        "{# a #}\n   {% if t %}x{% endif %}",
        "{%- set a = 1 -%}\n   {%- set b = 2 %}\n   {{ a }}",
        "{{ '{{' }} {{ '%}' }} {{ {'a': {'b': 1}}}}",
        "{ { % # } {",
        "{#-#}x{#--#}y",
        "{{-1}} {{- 1 }} {{ -1 -}} z",
        "",
        "\n",
        "\n\n",
    ],
    "operators": r"""
{{ 1 + 2 * 3 ** 2 }} {{ 2 ** 3 ** 2 }} {{ -2 ** 2 }} {{ (2 + 3) * 4 }} {{ 2 ** -1 }} {{ 2 ** 0.5 }}
{{ 7 / 2 }} {{ 6 / 2 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ 7 // -2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 % -3 }}
{{ 7.5 // 2 }} {{ -7.5 // 2 }} {{ -7.5 % 2 }} {{ 7.5 % -2 }} {{ 5 % 2.5 }} {{ 1e300 // 3 }}
{{ true + true }} {{ true * 3 }} {{ 1 - false }} {{ -true }} {{ +true }} {{ +x }}
{{ 'a' + 'b' }} {{ 'ab' * 3 }} {{ 3 * 'ab' }} {{ 'ab' * -1 }} {{ [1] * 2 + [3] }} {{ (1,) + (2,) }} {{ 2 * (1, 2) }}
{{ 1 ~ 'a' ~ none ~ 2.0 ~ missing ~ [1] }} {{ 'a' ~ 1 * 2 }} {{ (1 ~ 2) ~ (2 + 3) }}
{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 == 1.0 }} {{ 1 == true }} {{ '1' == 1 }} {{ 'a' < 'b' }} {{ 'Z' < 'a' }} {{ [1, 2] < [1, 3] }} {{ 'é' > 'z' }}
{{ 1 != 2 }} {{ 2 >= 2 }} {{ 2 <= 1 }} {{ 3 > 2 > 1 }} {{ none == none }} {{ missing == other }} {{ missing == none }}
{{ [1, [2]] == [1, [2.0]] }} {{ {'a': 1, 'b': 2} == {'b': 2, 'a': 1} }} {{ (1, 2) == [1, 2] }} {{ d == d }}
{{ 'a' in 'abc' }} {{ 'x' not in 'abc' }} {{ 2 in l }} {{ 'a' in d }} {{ '' in 'abc' }} {{ none in [none] }} {{ 1 in (1, 2) }} {{ 1 in missing }} {{ 2 in range(3) }}
{{ not t }} {{ not not e }} {{ not 1 == 2 }} {{ t and 'x' }} {{ f or 'y' }} {{ e or n or 'z' }} {{ 1 and 0 and 2 }} {{ 0 or [] }}
{{ 'yes' if t else 'no' }} {{ 'yes' if f }}| {{ 'a' if f else 'b' if f else 'c' }} {{ (1 if t else 2) + 1 }}
{{ s[0] }} {{ s[-1] }} {{ s[1:4] }} {{ s[::-1] }} {{ s[:-1] }} {{ s[-3:] }} {{ s[::2] }} {{ s[10:2:-2] }} {{ s[99:] }} {{ s[5:1] }}
{{ l[0] }} {{ l[-1] }} {{ l[1:] }} {{ l[::-1] }} {{ l[:-1] }} {{ l[-99:99] }} {{ (1, 2, 3)[1:] }} {{ l[true] }} {{ l[:] }} {{ l[::-2] }}
{{ u[2] }} {{ u[2:5] }} {{ u[::-1] }} {{ range(10)[2:5] }} {{ range(5)[-1] }}
{{ range(0, 10, 3) }} {{ range(5, 2) }} {{ range(0, 10, 3)[1:] }} {{ range((-9223372036854775807 - 1), 9223372036854775807, 9223372036854775807) }}
{{ (-9223372036854775807 - 1) % 3 }} {{ (-9223372036854775807 - 1) % -1 }} {{ 9223372036854775807 % -2 }} {{ -7 % 3 }} {{ 7 % -3 }}
{{ s|truncate(3, true, '', 9223372036854775807) }} {{ s|truncate(9223372036854775807) }} [{{ s|center((-9223372036854775807 - 1)) }}] [{{ s.center((-9223372036854775807 - 1)) }}] [{{ s.rjust((-9223372036854775807 - 1)) }}]
{{ "{:,.100%}".format(1.7e306) }} {{ "{:+,.100%}".format(1.7e306) }} {{ "{:,.100f}".format(-1.7976931348623157e308) }}
{% set xs = [1] %}{% macro m() %}{{ varargs|length }}{% endmacro %}{{ m(xs.extend(range(1000)|list), *xs) }} {% macro k() %}{{ kwargs|length }}{% endmacro %}{% set d = {} %}{{ k(a=d.update(b=1, c=2), **d) }}
{{ d.b }} {{ d['b'] }} {{ d.a[1].k }} {{ d.a[1]['k'] }} {{ d.a.0 }} {{ d.a.1.k }} {{ items[0].o.p }} {{ items.0.n }}
{{ deep['items'] }} {{ deep.keys() }} {{ deep['x y'] }} {{ deep['1'] }} {{ deep.get('keys').get('get') }} {{ deep['keys']['get'] }} {{ deep.x }}
x{{ s.foo }}y{{ 1 .foo }}z{{ s['foo'] }}
{{ {'a': 1}['a'] }} {{ {1: 'i', 'b': 2, none: 3}[1] }} {{ {1: 'a'}[1.0] }} {{ {true: 'a'}[1] }} {{ {'a': 1, 'a': 2} }} {{ {(1, 2): 3}[(1, 2)] }}
{{ [1, 2,] }} {{ (1, 2,) }} {{ {'a': 1,} }}
{{ 1 if n is none else 2 }} {{ 1 is odd and 2 is even }} {{ not n is none }} {{ n is not none }} {{ 1 + 1 is odd }} {{ 3 is divisibleby 3 }} {{ 4 is not divisibleby(3) }}
{{ -1|abs }} {{ (-1)|abs }} {{ 'a' ~ 'b'|upper }} {{ ('a' ~ 'b')|upper }} {{ 'a' + 'b'|upper + 'c' }} {{ -x|abs }} {{ l|length + 1 }} {{ 2 * l|length }}
{{ s.split(',')[0]|upper }} {{ s|upper|lower|title }} {{ 'a'.upper().lower() }} {{ (s|upper).lower() }} {{ s|replace('l', 'L')|length > 3 }}
{{ '%s-%d-%.2f-%5s|%-5s|%05d|%x|%%' % ('a', 3, 1.234, 'b', 'c', 42, 255) }} {{ '%r' % 'a' }} {{ 'a%sb' % 1 }} {{ '%+d % d' % (1, 2) }} {{ '%(k)s' % {'k': 1} }} {{ '%c' % 'x' }} {{ '%e %g' % (12345.678, 0.00001) }}
{{ 1.5 + 1 }} {{ 3 - 1.5 }} {{ 2 * 1.5 }} {{ 3.0 // 2 }} {{ 7 / 7 }} {{ 1e308 * 10 }}
{{ 'abc'[1] * 3 }} {{ ('a', 'b')[0] }} {{ [[1, 2], [3]][0][1] }}
{{ 'a' if missing else 'b' }} {{ missing or 'x' }} {{ missing and 1 }}|
""",
    "errors": r"""
{{ 1 ~ 2 + 3 }}
{{ items|join(',', 'o.p') }}
{{ s is string is true }}
{{ missing.x }}
{{ missing[0] }}
{{ missing() }}
{{ missing + 1 }}
{{ d.missing.x }}
{{ s.missing() }}
{{ n.x.y }}
{{ n + 'a' }}
{{ 'a' + 1 }}
{{ 1 + 'a' }}
{{ 'a' - 'b' }}
{{ [] + 'a' }}
{{ 1 / 0 }}
{{ 1 % 0 }}
{{ 1 // 0.0 }}
{{ 1 < 'a' }}
{{ none < 1 }}
{{ missing < 1 }}
{{ 1 in 'abc' }}
{{ 1 in 2 }}
{{ none in none }}
{{ -'a' }}
{{ +none }}
{{ l[::0] }}
{{ {[]: 1} }}
{{ [] in {} }}
{{ 1() }}
{{ s() }}
{{ n|length }}
{{ 1|length }}
{{ missing|int }}
{{ missing|tojson }}
{{ n|join }}
{{ 5|list }}
{{ s|nosuch }}
{{ s is nosuch }}
{{ s|upper(1) }}
{{ s|replace('a') }}
{{ s|trim(nosuch=1) }}
{{ raise_exception('stop ' ~ s) }}
{% for a, b in l %}{% endfor %}
{% for a in 5 %}{% endfor %}
{% for a in none %}{% endfor %}
{% set a, b = (1, 2, 3) %}
{% set d.x = 1 %}
{% set missing.x = 1 %}
{{ range(100001) }}
{{ range(1, 2, 0) }}
{{ range('a') }}
{{ [1]|tojson(indent=[]) }}
{{ namespace }}{{ namespace(1) }}
{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}
{% macro m(a) %}{% endmacro %}{{ m(b=2) }}
{% macro m(a) %}{% endmacro %}{{ m(1, a=2) }}
{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}
{{ d.update(1) }}
{{ [].pop() }}
{{ {}.pop('a') }}
{{ [1].index(2) }}
{{ 'a'.index('b') }}
{{ 'a'.split('') }}
{{ ','.join([1]) }}
{{ 'a'.startswith(1) }}
{{ 'abc'|batch }}
{{ '{'.format(1) }}
{{ '{} {}'.format(1) }}
{{ '%d' % 'a' }}
{{ '%s %s' % 'a' }}
{{ '%s' % ('a', 'b') }}
{{ {(1,): 2}|tojson }}
{{ l|sort(attribute='a') ~ ([1, 'a']|sort) }}
{{ loop.index }}
{{ n.items() }}
{{ n|items|list }}
{{ s|items|list }}
{{ d|selectattr|list }}
{{ [missing]|tojson }}
{{ s.nosuch.x }}
{{ l|last() }}{{ (l|map('string'))|last }}
""",
    "syntax": [
        "{{", "{{ }}", "{{ 1", "{% if %}{% endif %}", "{% if t %}", "{% endif %}", "{% for x %}{% endfor %}",
        "{% for x in %}{% endfor %}", "{% nosuch %}", "{{ 1 + }}", "{{ (1 }}", "{{ [1 }}", "{{ {'a' 1} }}",
        "{{ 'a }}", "{{ a.  }}", "{{ a[ }}", "{{ a b }}", "{# c", "{% raw %} ", "{{ 1 | }}", "{{ 1 is }}", "{{ a ? b }}",
        "{{ a = 1 }}", "{% set 1 = 2 %}", "{% set true = 2 %}", "{% set a.b.c = 2 %}", "{% macro %}{% endmacro %}",
        "{% macro m(a=1, b) %}{% endmacro %}", "{% macro m(1) %}{% endmacro %}", "{% else %}", "{% break %}",
        "{% for x in l %}{% endfor %}{% continue %}", "{% if t %}{% endfor %}", "{{ f(a=1, 2) }}", "{{ f(**d, 1) }}",
        "{{ ) }}", "{{ (] }}", "{{ '\\x4' }}", "{{ '\\u12' }}", "{% call 1 %}{% endcall %}", "{% set x %}", "{{ a is b is c }}",
        "{% filter %}{% endfilter %}", "{% print 1 2 %}", "{% print i, s %}", "{{ not }}", "{{ 1 if }}", "{{ 1 not 2 }}", "{{ a.'b' }}",
        "{{ \\ }}", "{{ $ }}", "{{ a; b }}", "{% for in in l %}{% endfor %}", "{{ {1, 2} }}", "{%%}", "{% %}", "{{ 08 }}",
        "{% if t: %}x{% endif %}", "{% if t:%}x{% endif %}", "{{ 1if t else 2 }}", "{{ l[1,] }}", "{{ ''.join(['a' 'b']) }}",
    ],
    "statements": [
        "{% if n %}a{% elif e %}b{% elif t %}c{% else %}d{% endif %}",
        "{% if n %}a{% elif e %}b{% else %}d{% endif %}{% if not n %}x{% endif %}",
        "{% if n or (t and not f) and i > 3 %}a{% endif %}",
        "{% for x in l %}{{ x }},{% endfor %}",
        "{% for x in [] %}{{ x }}{% else %}none{% endfor %}",
        "{% for x in missing %}{{ x }}{% else %}none{% endfor %}",
        "{% for x in l if x > 1 %}{{ loop.index }}:{{ x }}/{{ loop.length }} {% else %}none{% endfor %}",
        "{% for x in l if x > 9 %}{{ x }}{% else %}none{% endfor %}",
        "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}",
        "{% for k in d %}{{ k }}{% endfor %}{% for k in d.keys() %}{{ k }}{% endfor %}{% for v in d.values() %}{{ v }}{% endfor %}",
        "{% for c in 'aé✓' %}[{{ c }}]{% endfor %}",
        "{% for (a, b), c in [((1, 2), 3)] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
        "{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.depth }}{{ loop.depth0 }} {% endfor %}",
        "{% for x in l %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }} {% endfor %}",
        "{% for x in l %}{{ loop.previtem is defined }}{{ loop.nextitem is undefined }}{{ loop.cycle('a', 'b') }}{{ loop.changed(x > 1) }}{% endfor %}",
        "{% for x in l %}{% for y in w %}{{ loop.index }}{{ loop.first }}{% endfor %}|{{ loop.index }} {% endfor %}",
        "{% for x in l %}{% set outer = loop %}{% for y in w %}{{ outer.index }}{{ loop.index }} {% endfor %}{% endfor %}",
        "{% for x in l %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% endfor %}",
        "{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}",
        "{% for x in l %}{% break %}{% else %}else{% endfor %}",
        "{% for x in l %}{% continue %}{% else %}else{% endfor %}",
        "{% for x in l %}a{% if loop.last %}{% break %}{% endif %}{% else %}else{% endfor %}",
        "{% for x in l %}{% for y in w %}{% if y == 'c' %}{% break %}{% endif %}{{ y }}{% endfor %}{{ x }}{% endfor %}",
        "{% for x in l %}{% set q %}a{% break %}b{% endset %}{% endfor %}{{ q }}z",
        "{% for x in (1, 2) recursive %}{{ x }}{% endfor %}",
        "{% for x in [{'c': [{'c': [], 'n': 2}], 'n': 1}] recursive %}{{ x.n }}({{ loop.depth }}{{ loop(x.c) }}){% else %}-{% endfor %}",
        "{% for i in range(3) %}{{ i }}{% endfor %}{% for i in range(1, 8, 3) %}{{ i }}{% endfor %}{% for i in range(3, 0, -1) %}{{ i }}{% endfor %}{{ range(3)|list }}",
        "{% for x in l|sort %}{{ x }}{% endfor %}{% for x in l[::-1] %}{{ x }}{% endfor %}{% for x in l|reverse %}{{ x }}{{ loop.last }}{% endfor %}",
        "{% for x in (1, 2, 3) if x is odd %}{{ x }}{{ loop.index }}{% endfor %}",
        "{% for x in 1, 2 %}{{ x }}{% endfor %}",
        "{% for a in items %}{{ a.n }}{{ a.o.p if a.o is defined }}{% endfor %}",
        "{% set q = [1] %}{% for x in q %}{{ x }}{% if q|length < 4 %}{% set _ = q.append(x + 1) %}{% endif %}{% endfor %}",
        "{% set a = 1 %}{% for x in l %}{{ a }}{% set a = x %}{{ a }}{% endfor %}{{ a }}",
        "{% set a = 1 %}{% if t %}{% set a = 2 %}{% endif %}{{ a }}",
        "{% if f %}{% set zz = 2 %}{% endif %}{{ zz }}|{% if t %}{% set zy = 2 %}{% endif %}{{ zy }}",
        "{% for x in l %}{% if x == 3 %}{% set found = x %}{% endif %}{{ found }}{% endfor %}{{ found }}",
        "{% set ns = namespace(a=1, b=[]) %}{% for x in l %}{% set ns.a = ns.a + x %}{% set _ = ns.b.append(x) %}{% endfor %}{{ ns.a }}{{ ns.b }}{{ ns.c }}",
        "{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a }}{{ ns.b }}{{ ns['a'] }}{{ ns is mapping }}",
        "{% set ns = namespace() %}{% set ns.x, y = 1, 2 %}{{ ns.x }}{{ y }}",
        "{% set a, b = 1, [2, 3] %}{{ a }}{{ b }}{% set (c, d2) = b %}{{ c }}{{ d2 }}{% set (p, (q, r)) = (1, (2, 3)) %}{{ p }}{{ q }}{{ r }}",
        "{% set a = 1, 2 %}{{ a }}{% set a = (1,) %}{{ a }}",
        "{% set a %}x{{ i }}y{% set inner = 1 %}{% endset %}{{ a }}{{ inner }}{{ a|length }}",
        "{% set a | upper | replace('X', 'z') %}x{{ s }}{% endset %}{{ a }}",
        "{% set a = [] %}{% for x in l %}{{ a.append(x) or '' }}{% endfor %}{{ a }}",
        "{% set d2 = dict(a=1, b=2) %}{% set _ = d2.update({'c': 3}, d=4) %}{{ d2 }}{{ dict([('x', 1)]) }}{{ dict({'y': 1}, z=2) }}",
        "{% macro m(a, b=2, c='x') %}({{ a }},{{ b }},{{ c }}){% endmacro %}{{ m(1) }}{{ m(1, 3) }}{{ m(1, c=5) }}{{ m(c=1, a=2) }}{{ m() }}",
        "{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}{{ m(1, 2) }}",
        "{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, x=3) }}",
        "{% macro m(a) %}{{ varargs|join('+') }}{{ kwargs.k }}{{ a }}{% endmacro %}{{ m(1, 2, 3, k=4) }}{{ m(*[7, 8], **{'k': 9}) }}",
        "{% macro m() %}{{ caller() }}-{{ caller() }}{% endmacro %}{% call m() %}x{{ i }}{% endcall %}",
        "{% macro m(l) %}{% for x in l %}{{ caller(x, loop.index) }}{% endfor %}{% endmacro %}{% call(a, b) m(l) %}[{{ a }}{{ b }}{{ s[0] }}]{% endcall %}",
        "{% macro m() %}{{ caller is defined }}{{ caller }}{% endmacro %}{{ m() }}",
        "{% macro fact(n) %}{% if n < 2 %}1{% else %}{{ n * fact(n - 1)|int }}{% endif %}{% endmacro %}{{ fact(6) }}",
        "{% macro m() %}{% set inner = 1 %}{{ s }}{{ late }}{% endmacro %}{% set late = 'L' %}{{ m() }}{{ inner }}",
        "{% macro m() %}{% for x in l %}{{ loop.index }}{{ x }}{% endfor %}{% endmacro %}{{ m() }}{{ m()|length }}{{ m.name }}{{ m.arguments }}",
        "{% for x in l %}{% macro m() %}{{ x }}{% endmacro %}{{ m() }}{% endfor %}",
        "{% macro a() %}A{{ b() }}{% endmacro %}{% macro b() %}B{% endmacro %}{{ a() }}",
        "{% macro m(x) -%}\n  {{ x }}\n{%- endmacro %}{{ m('q') }}|{{ m('r')|trim }}",
        "{% filter upper %}abc{{ s }}{% endfilter %}{% filter replace('a', 'b')|title %}aaa bbb{% endfilter %}",
        "{% generation %}a{% set g = 1 %}{{ s }}{% endgeneration %}{{ g }}",
        "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% set c = 3 %}{% endwith %}{{ a }}{{ c }}",
        "{% with %}{% set i = 3 %}{{ i }}{% endwith %}{{ i }}",
        "{% set i = 5 %}{% with i = i + 1, j = i %}{{ i }}{{ j }}{% endwith %}",
        "{% print i + 1 %}",
        "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.reset() }}{{ c.current }}",
        "{% set j = joiner(', ') %}{% for x in l %}{{ j() }}{{ x }}{% endfor %}{% set k = joiner() %}{{ k() }}{{ k() }}",
        "{{ strftime_now('%Y-%m-%d %H:%M:%S %a %A %b %B %d %j %p %I %y %% %e %F %T %D %R %-d %u %w') }}",
        "{% if strftime_now is defined %}{{ strftime_now('%d %B %Y') }}{% endif %}{{ raise_exception is defined }}{{ nosuch is defined }}",
        "{{ range is callable }}{{ s is callable }}{{ namespace is defined }}",
        "{% if s is string %}{% set v = 'S' %}{% else %}{% set v = 'N' %}{% endif %}{{ v }}",
        "{% for x in l %}{% set ns = namespace(v=x) %}{{ ns.v }}{% endfor %}",
        "{% set messages = [{'role': 'system'}, {'role': 'user'}] %}{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% else %}{% set loop_messages = messages %}{% endif %}{{ loop_messages|length }}{{ loop_messages[0].role }}",
        "{% for x in w|map('upper')|unique|sort %}{{ x }}{% if not loop.last %}, {% endif %}{% endfor %}",
        "{% for x in items|selectattr('v', 'gt', 1) %}{{ loop.length }}{{ x.n }}{% endfor %}",
        "{% set g = items|map(attribute='n') %}{% for x in g %}{{ x }}{% endfor %}{% for x in g %}{{ x }}{% else %}done{% endfor %}",
        "{% for g, xs in items|groupby('o.p', default=0) %}{{ g }}:{{ xs|length }} {% endfor %}{% for g in items|groupby('n') %}{{ g.grouper }}{{ g.list|length }}{{ g[0] }} {% endfor %}",
        "{% for row in range(7)|batch(3, '-') %}{{ row|join }}|{% endfor %}{% for row in range(7)|slice(3, '-') %}{{ row|join }}|{% endfor %}",
    ],
    "filters": r"""
{{ -5|abs }} {{ (-5)|abs }} {{ (-2.5)|abs }} {{ true|abs }}
{{ s|upper }} {{ s|lower }} {{ s|title }} {{ s|capitalize }} {{ 'hELLO wORLD-foo (bar) [x]'|title }} {{ 'hELLO wORLD'|capitalize }}
{{ u|upper }} {{ u|lower }} {{ u|title }} {{ u|capitalize }} {{ 'ß'|upper }} {{ 'ΟΔΟΣ ΣΑΣ'|lower }} {{ 'İ'|lower|length }} {{ 'éa'|capitalize }}
{{ 5|upper }} {{ n|lower }} {{ true|upper }} {{ [1]|upper }}
[{{ ws|trim }}] [{{ 'xxaxx'|trim('x') }}] [{{ n|trim }}] [{{ '\u00a0a\u3000'|trim }}]
{{ s|replace('l', 'L') }} {{ s|replace('l', 'L', 1) }} {{ 'aaa'|replace('a', 'aa') }} {{ 'abc'|replace('', '-') }} {{ 5|replace(5, 6) }} {{ 'abc'|replace('b', '') }}
{{ s|length }} {{ l|length }} {{ d|length }} {{ u|length }} {{ (1, 2)|count }} {{ range(5)|length }} {{ missing|length }} {{ d.items()|length }}
{{ missing|default('x') }} {{ n|default('x') }} {{ n|default('x', true) }} {{ e|d('x', true) }} {{ e|default('x') }} {{ missing|default }}| {{ missing|d(default_value=3) }} {{ f|default('x', boolean=true) }} {{ d.zz|default([]) }}
{{ l|join }} {{ l|join(', ') }} {{ items|join(', ', attribute='n') }} {{ items[:2]|join(',', 'o.p') }} {{ 'abc'|join('-') }} {{ d|join }} {{ []|join(',') }} {{ [1, none, 'a', 2.5]|join(' ') }} {{ missing|join(',') }} {{ l|join(5) }}
{{ l|sort }} {{ l|sort(reverse=true) }} {{ w|sort }} {{ w|sort(case_sensitive=true) }} {{ items|sort(attribute='n')|map(attribute='n')|join }} {{ items|sort(attribute='n,v', reverse=true)|map(attribute='v')|list }} {{ 'cab'|sort }} {{ d|sort }}
{{ d|dictsort }} {{ d|dictsort(true) }} {{ {'a': 2, 'b': 1}|dictsort(false, 'value') }} {{ {'a': 2, 'b': 1}|dictsort(reverse=true) }} {{ d|dictsort(by='key')|list }}
{{ l|first }} {{ l|last }} {{ s|first }} {{ s|last }} {{ []|first }}| {{ d|first }} {{ d|last }} {{ range(3)|last }}
{{ l|min }} {{ l|max }} {{ w|min }} {{ w|max }} {{ []|min }}| {{ items|max(attribute='v') }} {{ [1, 2.5, true]|max }} {{ ['b', 'A']|min(case_sensitive=true) }}
{{ l|sum }} {{ items|sum(attribute='v') }} {{ l|sum(start=10) }} {{ []|sum }} {{ [[1], [2]]|sum(start=[]) }} {{ [0.1, 0.2]|sum }}
{{ l|reverse|list }} {{ s|reverse }} {{ u|reverse }} {{ (1, 2)|reverse|list }} {{ d|reverse|list }}
{{ l|list }} {{ 'abc'|list }} {{ d|list }} {{ d.items()|list }} {{ missing|list }} {{ (1, 2)|list }}
{{ d|items|list }} {{ missing|items|list }} {{ {}|items|list }}
{{ w|unique|list }} {{ w|unique(case_sensitive=true)|list }} {{ [1, 1.0, true, 2]|unique|list }} {{ items|unique(attribute='n')|map(attribute='v')|list }}
{{ w|map('upper')|list }} {{ items|map(attribute='n')|list }} {{ items|map(attribute='o.p', default=0)|list }} {{ items|map(attribute='zz')|list }} {{ w|map('replace', 'a', 'Q')|join }} {{ [[1, 2], [3]]|map('first')|list }} {{ l|map('string')|join }} {{ [[1], [2]]|map(attribute=0)|list }} {{ n|map('upper')|list }}
{{ l|select('odd')|list }} {{ l|select|list }} {{ [0, 1, '', 'a']|select|list }} {{ l|reject('odd')|list }} {{ [0, 1]|reject|list }} {{ l|select('gt', 1)|list }} {{ w|select('in', ['a', 'b'])|list }} {{ l|select('divisibleby', 3)|list }} {{ [1, none]|reject('none')|list }} {{ w|select('equalto', 'a')|list }} {{ l|reject('==', 1)|list }}
{{ items|selectattr('o')|map(attribute='n')|list }} {{ items|selectattr('v', 'equalto', 2)|list }} {{ items|rejectattr('o', 'defined')|map(attribute='n')|list }} {{ items[:2]|selectattr('o.p', 'eq', 1)|list|length }} {{ items|rejectattr('v', 'in', [1, 2])|list }} {{ items|selectattr('n', '==', 'x')|first }} {{ items|rejectattr('zz')|list|length }}
{{ '42'|int }} {{ '42.9'|int }} {{ 42.9|int }} {{ 'x'|int }} {{ 'x'|int(5) }} {{ '0x1A'|int(0, 16) }} {{ '101'|int(base=2) }} {{ ' 7 '|int }} {{ true|int }} {{ n|int }} {{ '-12'|int }} {{ -2.9|int }} {{ '1_000'|int }} {{ ''|int }} {{ []|int }} {{ '1e3'|int }}
{{ '1.5'|float }} {{ 'x'|float }} {{ 'x'|float(2.5) }} {{ 3|float }} {{ n|float }} {{ '1e3'|float }} {{ ' 2 '|float }} {{ 'inf'|float }} {{ true|float }} {{ 'nan'|float }}
{{ 2.5|round }} {{ 3.5|round }} {{ 2.675|round(2) }} {{ 2.1|round(method='ceil') }} {{ 2.9|round(0, 'floor') }} {{ 42.55|round(1) }} {{ 5|round }} {{ 1234.5|round(-2) }} {{ 1234|round(-2) }} {{ 2.345|round(2, 'floor') }} {{ -2.5|round }} {{ (-2.5)|round }} {{ 0.5|round }}
{{ html|escape }} {{ html|e }} {{ 5|e }} {{ ('<'|safe) + '<' }} {{ '<' + ('<'|safe) }} {{ ('<'|safe) ~ '<' }} {{ '<'|e|e }} {{ '<'|safe|e }} {{ ('<'|safe)|upper + '<' }} {{ '<'|safe|forceescape }} {{ ('<'|safe)[0] + '<' }} {{ ['<'|safe, '<']|join('>') }} {{ ('<b>'|safe) * 2 + '&' }} {{ ('a'|safe)|replace('a', '<') + '<' }} {{ ('<'|safe) is escaped }}
{{ 'a\nb\n\nc'|indent }}| {{ 'a\nb'|indent(2, true) }}| {{ 'a\n\nb'|indent(1, blank=true) }}| {{ 'a\nb\n'|indent(width='>>') }}| {{ ''|indent }}| {{ '\na'|indent(first=true) }}|
{{ 'foo bar baz'|truncate(7) }} {{ 'foo bar baz qux'|truncate(9, true) }} {{ 'foo bar baz qux'|truncate(9) }} {{ 'foo bar baz qux'|truncate(9, false, '', 0) }} {{ 'foo bar'|truncate(5, leeway=0) }}
{{ 'foo bar_baz, q-x é1'|wordcount }} {{ ''|wordcount }}
[{{ 'ab'|center(5) }}] [{{ 'ab'|center(6) }}] [{{ 'abc'|center(6) }}] [{{ 'ab'|center(1) }}] [{{ 'é'|center(4) }}]
{{ 'a b/ü&c=d~'|urlencode }} {{ {'a b': 'c&d', 'x': 1}|urlencode }} {{ [('a', 'b c')]|urlencode }} {{ 5|urlencode }}
{{ '%s=%s'|format('a', 1) }} {{ '%(a)s'|format(a=2) }} {{ '%.1f'|format(2.25) }} {{ '%5d|%-5d|%05d'|format(1, 2, 3) }}
{{ 5|string + 'a' }} {{ n|string }} {{ [1, 'a']|string }} {{ 1.0|string }} {{ missing|string }}|
{{ l|batch(2)|list }} {{ l|batch(2, 0)|list }} {{ l|slice(2)|list }} {{ range(5)|slice(2, 'x')|list }} {{ []|batch(2)|list }}
{{ d|attr('items') is callable }} {{ d|attr('b') is defined }} {{ s|attr('upper')() }}
{{ items|groupby('n') }} {{ w|groupby(0)|list }}
""",
    "tojson": r"""
{{ d|tojson }} {{ s|tojson }} {{ u|tojson }} {{ html|tojson }} {{ n|tojson }} {{ t|tojson }} {{ x|tojson }} {{ 1.0|tojson }} {{ 1e20|tojson }} {{ big|tojson }}
{{ d|tojson(indent=4) }}
{{ d|tojson(indent=0) }} {{ []|tojson(indent=2) }} {{ {}|tojson(indent=2) }} {{ [[], {}]|tojson(indent=2) }}
{{ d|tojson(indent='--') }}
{{ d|tojson(separators=(',', ':')) }} {{ d|tojson(indent=2, separators=(' ,', ' : ')) }}
{{ d|tojson(sort_keys=true) }} {{ items|tojson(sort_keys=true, indent=1) }}
{{ u|tojson(ensure_ascii=true) }} {{ '😀é'|tojson(true) }} {{ '😀é'|tojson(ensure_ascii=False) }}
{{ 'a"b\\c/\b\f\n\r\t\x00\x1f\x7f\u2028'|tojson }}
{{ {1: 2, none: 3, true: 4, 1.5: 5, 'k': 6}|tojson }} {{ (1, (2,))|tojson }} {{ ('inf'|float)|tojson }} {{ ('nan'|float)|tojson }} {{ -('inf'|float)|tojson }}
{{ (d|tojson)[1:-1] }} {{ d|tojson|length }} {{ d|tojson|upper }} {{ '<b>'|tojson + '<' }}
{{ [1, 2]|tojson(indent=none) }} {{ items[0]|tojson|replace('"', "'") }}
""",
    "tests": r"""
{{ s is defined }} {{ missing is defined }} {{ missing is undefined }} {{ d.x is defined }} {{ n is defined }} {{ d.a[1].k is defined }}
{{ n is none }} {{ 0 is none }} {{ missing is none }} {{ s is string }} {{ 1 is string }} {{ missing is string }}
{{ d is mapping }} {{ l is mapping }} {{ missing is mapping }} {{ l is iterable }} {{ s is iterable }} {{ d is iterable }} {{ 1 is iterable }} {{ missing is iterable }} {{ n is iterable }} {{ d.items() is iterable }} {{ range(2) is iterable }} {{ (l|map('string')) is iterable }}
{{ l is sequence }} {{ s is sequence }} {{ d is sequence }} {{ 1 is sequence }} {{ (1,) is sequence }} {{ range(2) is sequence }} {{ d.items() is sequence }} {{ (l|map('string')) is sequence }} {{ missing is sequence }} {{ n is sequence }}
{{ 1 is number }} {{ 1.5 is number }} {{ true is number }} {{ '1' is number }} {{ 1 is integer }} {{ true is integer }} {{ 1.0 is integer }} {{ 1.0 is float }} {{ 1 is float }}
{{ true is boolean }} {{ 1 is boolean }} {{ true is true }} {{ 1 is true }} {{ false is false }} {{ 0 is false }} {{ f is not true }}
{{ 3 is odd }} {{ 3 is even }} {{ -3 is odd }} {{ 4 is divisibleby 2 }} {{ 4 is divisibleby(3) }} {{ 2.0 is even }}
{{ 1 is eq 1 }} {{ 1 is equalto(2) }} {{ 1 is ne 2 }} {{ 1 is lt 2 }} {{ 1 is gt 2 }} {{ 2 is ge 2 }} {{ 2 is le 1 }} {{ 1 is lessthan 2 }} {{ 1 is greaterthan 0 }} {{ 'a' is in 'abc' }} {{ 1 is in [1] }} {{ 1 is not in [1] }}
{{ 'abc' is lower }} {{ 'aBc' is lower }} {{ 'ABC' is upper }} {{ '12' is lower }} {{ 'A1' is upper }} {{ 'é' is lower }}
{{ range is callable }} {{ s.upper is callable }} {{ 1 is callable }} {{ l is sameas l }} {{ none is sameas none }} {{ 1 is sameas true }} {{ [] is sameas [] }}
{{ 'upper' is filter }} {{ 'nosuch' is filter }} {{ 'odd' is test }} {{ 'nosuch' is test }} {{ 's' is escaped }}
{{ s is string and l is not string }} {{ not s is string }} {{ s is string == true }} {{ (1 is odd) == true }} {{ 'a' if s is not none else 'b' }} {{ s is not defined or t }}
{{ d.a is iterable and d.a is not string and d.a is not mapping }}
""",
    "methods": r"""
{{ s.upper() }} {{ s.lower() }} {{ s.title() }} {{ s.capitalize() }} {{ "they're bill's".title() }} {{ s.swapcase() }} {{ 'ǆ'.title() }} {{ u.swapcase() }}
{{ s.split(', ') }} {{ 'a b  c'.split() }} {{ 'a,b,c'.split(',', 1) }} {{ 'a,b,c'.rsplit(',', 1) }} {{ ''.split() }} {{ ''.split(',') }} {{ ' a  b '.split(' ') }} {{ ' a b c '.split(none, 1) }} {{ ' a b c '.rsplit(none, 1) }} {{ ' a b '.rsplit() }} {{ 'a,b'.split(',', 0) }} {{ 'a<t>b<t>c'.split('<t>')[-1] }} {{ 'abc'.rsplit('b') }} {{ ' x '.split(none, 0) }} {{ ' x  y '.rsplit(none, 5) }} {{ 'a,b,c'.split(',', maxsplit=1) }}
{{ 'a\nb\r\nc\n'.splitlines() }} {{ 'a\nb'.splitlines(true) }} {{ ''.splitlines() }} {{ '\n'.splitlines() }} {{ 'a\x0bb\x1cc\u2028d\x85e'.splitlines() }}
[{{ ws.strip() }}] [{{ ws.lstrip() }}] [{{ ws.rstrip() }}] [{{ 'xyaxy'.strip('xy') }}] [{{ '\n\na\n'.lstrip('\n') }}] [{{ 'éaé'.strip('é') }}] [{{ 'abc'.rstrip('') }}] [{{ ' a '.strip(none) }}]
{{ s.startswith('Hell') }} {{ s.startswith(('x', 'H')) }} {{ s.endswith('ld') }} {{ s.endswith(('x',)) }} {{ s.startswith('W', 7) }} {{ s.endswith('o', 0, 5) }} {{ s.startswith('') }} {{ s.endswith(()) }}
{{ s.replace('l', 'L') }} {{ s.replace('l', 'L', 2) }} {{ s.replace('', '.') }} {{ 'aaa'.replace('aa', 'b') }}
{{ s.find('o') }} {{ s.find('o', 5) }} {{ s.find('zz') }} {{ s.rfind('o') }} {{ s.index('W') }} {{ s.rindex('l') }} {{ s.count('l') }} {{ s.count('') }} {{ u.find('Σ') }} {{ s.find('l', -3) }} {{ s.count('l', 0, 4) }} {{ 'aaaa'.count('aa') }}
{{ ','.join(['a', 'b']) }} {{ ''.join('abc') }} {{ ', '.join(d) }} {{ '-'.join(w|map('upper')) }}
{{ '{} {}'.format(1, 'a') }} {{ '{0}{1}{0}'.format('a', 'b') }} {{ '{x} {y.z}'.format(x=1, y={'z': 2}) }} {{ '{:>5}|{:<5}|{:^5}|{:*^7}'.format('a', 'b', 'c', 'd') }} {{ '{:05d} {:x} {:,} {:.2f} {:5.1f}|{:e}'.format(42, 255, 1234567, 3.14159, 2.25, 1e10) }} {{ '{{}} {!r}'.format('a') }} {{ '{a[k]}'.format(a={'k': 1}) }} {{ '{:%}'.format(0.25) }} {{ '{:+d}'.format(5) }} {{ '{:b} {:o} {:#x}'.format(5, 8, 255) }} {{ '{}'.format([1, 'a']) }} {{ '{:3}|{:<3}'.format(1, 2) }}
{{ '12'.isdigit() }} {{ '1a'.isdigit() }} {{ ''.isdigit() }} {{ '²'.isdigit() }} {{ '²'.isdecimal() }} {{ '½'.isnumeric() }} {{ 'ab'.isalpha() }} {{ 'éß'.isalpha() }} {{ 'a1'.isalnum() }} {{ ' \n'.isspace() }} {{ ''.isspace() }} {{ 'AB'.isupper() }} {{ 'ab1'.islower() }} {{ 'Ab Cd'.istitle() }} {{ 'aé'.isascii() }} {{ 'a'.isascii() }} {{ 'a\n'.isprintable() }} {{ '\u200b'.isprintable() }} {{ '漢字'.isalpha() }}
{{ 'prefix-x'.removeprefix('prefix-') }} {{ 'x.py'.removesuffix('.py') }} {{ 'a-b-c'.partition('-') }} {{ 'a-b-c'.rpartition('-') }} {{ 'abc'.partition('-') }} {{ 'abc'.rpartition('-') }}
[{{ 'a'.ljust(3) }}] [{{ 'a'.rjust(3, '-') }}] [{{ 'a'.center(4, '*') }}] [{{ 'ab'.center(5, '*') }}] {{ '-5'.zfill(4) }} {{ '5'.zfill(3) }} {{ 'abc'.zfill(2) }}
{{ d.get('b') }} {{ d.get('zz') }} {{ d.get('zz', 5) }} {{ d.keys() }} {{ d.values() }} {{ d.items() }} {{ d.keys()|list }} {{ d.items()|first }} {{ d.copy() == d }}
{% set q = {'a': 1} %}{{ q.pop('a') }}{{ q }}{{ q.pop('a', 9) }}{{ q.setdefault('z', []) }}{{ q.setdefault('z', 1) }}{{ q.update(y=2) }}{{ q }}{{ q.popitem() }}{{ q.clear() }}{{ q }}
{% set q = [1, 2] %}{{ q.append(3) }}{{ q.pop() }}{{ q.pop(0) }}{{ q.extend([4, 5]) }}{{ q.insert(0, 'a') }}{{ q.insert(99, 'z') }}{{ q.insert(-1, 'y') }}{{ q }}{{ q.index(4) }}{{ q.count(5) }}{{ q.remove(4) }}{{ q.reverse() }}{{ q }}{{ q.copy() }}{{ q.clear() }}{{ q }}
{% set q = [3, 1, 2] %}{{ q.sort() }}{{ q }}{{ q.sort(reverse=true) }}{{ q }}{{ (1, 2, 1).count(1) }}{{ (1, 2).index(2) }}
{% set q = [1] %}{% set p = q %}{% set _ = p.append(2) %}{{ q }}{% set _ = q.extend(q) %}{{ q }}
{{ 'a-b_c'.replace('-', ' ').replace('_', ' ').title() }} {{ s.split(',')|map('trim')|list }} {{ s.split()[0].rstrip(',')|lower }}
{{ 'x<think>a</think>b'.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') }} {{ ('\n\nb'|string).lstrip('\n') }}
""",
}

def tool(name, description, properties, required):
    return {"type": "function", "function": {
        "name": name, "description": description,
        "parameters": {"type": "object", "properties": properties, "required": required}}}


def call(name, arguments, ident="call12345"):
    return {"id": ident, "type": "function", "function": {"name": name, "arguments": arguments}}


TOOLS = [
    tool("get_weather", "The weather \"now\" <b>", {
        "city": {"type": "string", "description": "The city, e.g. Köln"},
        "unit": {"type": "string", "enum": ["c", "f"], "default": "c"},
        "days": {"type": ["integer", "null"], "default": 3},
        "tags": {"type": "array", "items": {"type": "string"}}}, ["city"]),
    tool("search", "Search", {
        "query": {"type": "string"},
        "filters": {"type": "object", "properties": {"lang": {"type": "string"}, "since": {"type": "number"}},
                    "required": ["lang"]},
        "pairs": {"type": "array", "items": {"type": "object", "properties": {"k": {"type": "boolean"}}}}}, ["query"]),
]
ARGUMENTS = {"city": "Köln", "days": 2, "tags": ["a", "b\"c"], "unit": None, "exact": True, "ratio": 1.5}

CONVERSATIONS = {
    "one": [{"role": "user", "content": "Hello <|im_end|> é ✓ 😀"}],
    "system": [{"role": "system", "content": "Be brief.\n"}, {"role": "user", "content": "  Hi \n"}],
    "developer": [{"role": "developer", "content": "Be exact."}, {"role": "user", "content": "Hi"}],
    "turns": [{"role": "system", "content": "S"}, {"role": "user", "content": "A"}, {"role": "assistant", "content": "B"},
              {"role": "user", "content": "C"}, {"role": "assistant", "content": "D "}, {"role": "user", "content": "E"}],
    "answered": [{"role": "user", "content": "A"}, {"role": "assistant", "content": "B"}],
    "thought": [{"role": "user", "content": "A"}, {"role": "assistant", "content": "<think>\nhm\n</think>\n\nB"},
                {"role": "user", "content": "C"}, {"role": "assistant", "content": "D", "reasoning_content": "because"}],
    "called": [{"role": "system", "content": "S"}, {"role": "user", "content": "Weather?"},
               {"role": "assistant", "content": None, "tool_calls": [call("get_weather", ARGUMENTS)]},
               {"role": "tool", "content": "{\"t\": 20}", "tool_call_id": "call12345", "name": "get_weather"},
               {"role": "assistant", "content": "20 degrees"}, {"role": "user", "content": "Thanks"}],
    "called_last": [{"role": "user", "content": "W"},
                    {"role": "assistant", "content": "", "tool_calls": [call("get_weather", {"city": "Paris"})]},
                    {"role": "tool", "content": "sunny", "tool_call_id": "call12345"}],
    "called_twice": [{"role": "user", "content": "W"},
                     {"role": "assistant", "content": "Let me see.", "reasoning_content": "two calls",
                      "tool_calls": [call("get_weather", {"city": "Paris"}, "call00001"),
                                     call("search", {"query": "x \"y\"", "filters": {"lang": "de"}}, "call00002")]},
                     {"role": "tool", "content": "sunny", "tool_call_id": "call00001"},
                     {"role": "tool", "content": "found", "tool_call_id": "call00002"}],
    "called_text": [{"role": "user", "content": "W"},
                    {"role": "assistant", "content": "", "tool_calls": [call("get_weather", "{\"city\": \"Paris\"}")]},
                    {"role": "tool", "content": "sunny", "tool_call_id": "call12345"}],
    "parts": [{"role": "system", "content": [{"type": "text", "text": "Sys "}]},
              {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": " What is "}, {"type": "text", "text": "this?"}]},
              {"role": "assistant", "content": [{"type": "text", "text": "A cat."}]},
              {"role": "user", "content": [{"type": "text", "text": "ok"}]}],
    "wrong_order": [{"role": "assistant", "content": "A"}, {"role": "user", "content": "B"}, {"role": "user", "content": "C"}],
    "other_role": [{"role": "user", "content": "A"}, {"role": "zebra", "content": "B"}],
    "nothing": [],
}

EXTRAS = {  # what comes with a conversation besides its messages
    "bare": {"add_generation_prompt": False},
    "prompt": {"add_generation_prompt": True},
    "tools": {"add_generation_prompt": True, "tools": TOOLS},
    "options": {"add_generation_prompt": True, "tools": TOOLS, "tools_in_user_message": False, "enable_thinking": False,
                "builtin_tools": ["search", "code_interpreter"], "reasoning_effort": "high", "date_string": "1 Apr 2025"},
    "nulls": {"add_generation_prompt": True, "tools": None, "reasoning_effort": None},
}

FAILING = ("errors", "syntax")
EXCEPTIONS = (  # look wrong, but are not
    "{% print i, s %}", "{% for in in l %}{% endfor %}", "{% if t: %}x{% endif %}", "{% if t:%}x{% endif %}",
    "{{ 1if t else 2 }}", "{{ ''.join(['a' 'b']) }}",
)


class Generation(Extension):
    """{% generation %} as transformers has it: passes its text through."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return nodes.CallBlock(self.call_method("_pass"), [], [], body).set_lineno(line)

    def _pass(self, caller):
        return caller()


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def raise_exception(words):
    raise jinja2.TemplateError(words)


def strftime_now(form):
    return datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc).strftime(form)


def environment():
    env = SandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, Generation])
    env.filters["tojson"] = tojson
    env.globals.update(raise_exception=raise_exception, strftime_now=strftime_now)
    return env


def outcome(env, source, variables):
    try:
        return {"rendered": env.from_string(source).render(**copy.deepcopy(variables))}
    except Exception:  # whatever jinja2 or Python objects to
        return {"error": True}


def lines_of(cases):
    return cases if isinstance(cases, list) else [c for c in cases.split("\n") if c]


def write_cases(env):
    with open(HERE / "cases.jsonl", "w") as out:
        for group, cases in CASES.items():
            for source in lines_of(cases):
                case = {"group": group, "source": source, **outcome(env, source, VARS)}
                if ("error" in case) != (group in FAILING) and source not in EXCEPTIONS:
                    raise SystemExit(f"{group}: {source!r} gives {case}")
                out.write(json.dumps(case, ensure_ascii=False) + "\n")


def write_chats(env):
    tokens = {"bos_token": "<s>", "eos_token": "</s>"}
    with open(HERE / "chats.jsonl", "w") as out:
        for path in sorted((HERE / "templates").glob("*.jinja")):
            source = path.read_text()
            for name, messages in CONVERSATIONS.items():
                for extra, values in EXTRAS.items():
                    variables = {**tokens, **values, "messages": messages}
                    chat = {"template": path.name, "conversation": name, "extra": extra,
                            **outcome(env, source, variables)}
                    out.write(json.dumps(chat, ensure_ascii=False) + "\n")


def main():
    env = environment()
    with open(HERE / "vars.json", "w") as out:
        json.dump(VARS, out, ensure_ascii=False, indent=1)
        out.write("\n")
    with open(HERE / "chat_vars.json", "w") as out:
        json.dump({"conversations": CONVERSATIONS, "extras": EXTRAS}, out, ensure_ascii=False, indent=1)
        out.write("\n")
    write_cases(env)
    write_chats(env)


if __name__ == "__main__":
    main()
