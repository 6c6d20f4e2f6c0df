"""Odd values: of fields, as YAML; of options, as words; paths and addresses."""

from __future__ import annotations

LONG = "x" * 5000
WIDE = "two words " * 1000
HELD = "tiny"
"""A study that the home holds."""


class Raw(str):
    """YAML that is written as it is."""


_SYNTAX = r"""
1e999
.inf
-.inf
.nan
"\uD800"
"\0"
!!binary aGk=
!!bool maybe
!!int ''
!!float ''
!!set {a}
!!timestamp x
!!python/object/apply:os.abort []
!odd 1
*nowhere
&a [*a]
{<<: 3}
<<
{a: 1, a: 2}
{1: 2}
a: b
"""
SYNTAX = [
    *map(Raw, _SYNTAX.split("\n")[1:-1]),
    *map(Raw, ("1" + "0" * 400, "0x" + "f" * 5000, "[" * 150 + "]" * 150, f"!{LONG} 1")),
]
"""What is refused as YAML, whatever the field."""

_VALUES = r"""
~
true
yes
0
-1
017
1e3
0.5
'1'
''
1000000000000000000
18446744073709551615
5e-324
1e308
-1e308
"\e[31m[/red]"
"[/red]"
é∞你
2026-11-30
1:30
=
~nobody9/x
../../etc/passwd
/dev/zero
/
pipe.yaml
folder
[]
{}
[[]]
[1, '1', true]
[1, 1.0]
[adding, adding]
{name: lstm}
{name: adding, length: 12}
{low: 1}
{low: 1, high: 3}
{low: 3, high: 1}
{low: 0, high: 1}
{low: 1, high: 1e300, step: 1e-10}
{low: 1, high: 2, step: 5e-324}
{when: {cell: lstm}, values: [1]}
{when: {cell: 7}, low: 1, high: 2, log: true}
{when: {}, values: []}
{a: {b: {c: [1, {d: 2}]}}}
seed
arm
tiny
c1
solved
updates to score 0.1
"""
VALUES = [*map(Raw, _VALUES.split("\n")[1:-1]), *map(Raw, ("", LONG, f'"{WIDE}"', "[" * 90 + "]" * 90))]
NUMBERS = (0, -1, 1, 2, 3, 7, 64, 0.5, -0.5, 1e-9, 1e-300, 1e9, 10**9, 10**12, 10**18, 2**63 - 1, 2**63, 1e300, 5e-324)

_WORDS = f"""
-
-1
0
1
2
1e20
nan
inf
1e999
é∞你
[1,2
{{
a=b
=
[/red]
'
1,2
1,1
1,'1'
017
true
adding
lstm
rnn,gru
grid
tpe
cpu
score
smoke
{HELD}
{HELD}:best
quickstart
deadbeef
copy-memory
chung-2014
{{name: lstm, forget_bias: 1}}
{{name: dask}}
task.length=017
task.length=9
cell.x=1
space.cell=[lstm, lstm]
base=5
space=7
trials=0
=3
a..b=1
seed=1
model={{hidden_size: 1}}
"""
WORDS = [*_WORDS.split("\n")[1:-1], "", " ", "9" * 400, LONG, WIDE, "\udcff", "\x1b[31m", f"task.length={LONG}"]
PLACES = [
    *"pipe.yaml pipe.json folder missing missing.yaml missing.json empty.yaml empty.json".split(),
    *"binary.yaml binary.json bom.yaml huge.yaml".split(),
    *"deep.yaml link.yaml folder/new folder/new.png empty.yaml/below ~nobody9/x".split(),
    *"/dev/null /dev/zero /dev/null/below /proc/nope/x.png /proc/self/mem".split(),
    LONG,
    f"folder/{LONG}.yaml",
]
"""Paths; what is written to them is in the current folder."""
ADDRESSES = [
    *"sqlite:///new.db sqlite:///missing/x.db sqlite:////dev/zero sqlite:///pipe.yaml sqlite:///binary.yaml".split(),
    *"sqlite:///folder sqlite:///new.db?mode=ro sqlite:// gopher://x tcp://127.0.0.1:9 file:///etc".split(),
    *"postgresql://h:abc/x postgresql://127.0.0.1:9/x postgresql:// mysql://x".split(),
    *"http://127.0.0.1:9 http://[ http://127.0.0.1:abc".split(),
    *(f"{scheme}{LONG}" for scheme in ("sqlite:///", "postgresql://", "http://127.0.0.1:9/")),
    "",
]
USUAL = {
    "task": ["adding", "copy-memory", "captioning", "characters"],
    "cell": ["lstm", "rnn,gru", "{name: lstm, forget_bias: 1}"],
    "study": [HELD, "quickstart", "adding", "copy-memory", "bom.yaml", "missing.json"],
    "name": ["lstm", HELD, "chung-2014", "case"],
    "run": [f"{HELD}:best", "deadbeef"],
    "set": ["task.length=9", "model.depth=2", "clip.norm=1", "seed=1", "space.model.depth=[1, 2]", "trials=3"],
}
"""Values that are mostly right, by option."""
