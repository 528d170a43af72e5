"""Text -> tokens.

One regular expression finds the next token; a stack of open brackets decides what a line end means: inside `(`,
`[` and `${` nothing, elsewhere it separates statements unless the line before or after it shows that the statement
goes on. Quoted text with interpolation is read piece by piece: at `${` the lexer goes on as usual until the `}` that
belongs to it, and then takes the text up again, so that strings and braces nest to any depth.

The lexer always gets to the end. What it cannot read becomes a `Problem`, and a stand-in keeps the rest readable:
`&&` reads as `and`, an unclosed string ends with its line.
"""

from __future__ import annotations

import re

from flowc.syntax import Ident, Literal, Node

from .foreign import FOREIGN_SIGNS, foreign_help
from .literals import BadLiteral, date_literal, dedent, escape_error, number, unescape
from .problems import Problem
from .tokens import HARD, KEYWORDS, TRAILING, Token, Tokens

__all__ = ["MAX_BRACKETS", "Lexer", "scan"]

MAX_BRACKETS = 100

_TOKEN = re.compile(
    r"""[ \t\r\f]*(?:
    (?P<word>[^\W\d]\w*)
  | (?P<line>(?:\#[^\n]*)?\n(?:[ \t\r\f]*(?:\#[^\n]*)?\n)*)
  | (?P<foreign>&&|\|\||===|!==|!(?!=)|=>|:=|\*\*|\+\+|[-+*/%]=|;|//[^\n]*|/\*
      |@\w[\w.]*(?:\([^()\n]*\))?|'(?:[^'\\\n]|\\.)*'|[“”][^“”"\n]*[“”"])
  | (?P<sign>->|\?\?|\?\.|\.\.\.|[=!<>]=|[{}()\[\]<>=:,.+\-*/%?|])
  | (?P<string>"(?!"")[^"\\\n$]*")
  | (?P<date>\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?(?!\w))
  | (?P<number>\d\w*(?:\.\d\w*)?(?:(?<=\d[eE])[+-]\d+)?)
  | (?P<quote>\"\"\"|\\?")
  | (?P<comment>\#[^\n]*)
  | (?P<end>\Z)
  | (?P<other>[^\w\s"'\#(){}\[\]<>=:,.+\-*/%?|]+|.)
  )""",
    re.VERBOSE,
)
#: a line that starts like this goes on with the statement before it
_GOES_ON = re.compile(
    r"[ \t\r\f]*(?:->|\?\?|\?\.|\.(?!\.)|\||\}|\Z"
    r"|(?:with|after|catch|and|or|else|finally|until|then|returns)\b(?!\s*:|\s*=(?!=)))"
)
#: outside of all blocks, where no statement starts with a brace
_GOES_ON_OUTSIDE = re.compile(rf"{_GOES_ON.pattern}|[ \t\r\f]*\{{")
_COLON = re.compile(r"[ \t]*:")
_COLON_OR_EQUALS = re.compile(r"[ \t]*(?::|=(?!=))")
_DOC = re.compile(r"^[ \t]*##(?!#) ?(.*?)[ \t\r]*$", re.MULTILINE)
_DECLARATION = re.compile(r"^(?:##|(?:task|flow)[ \t]+\w+[ \t]*(?:\(|\{|returns\b))", re.MULTILINE)
#: text up to the closing quotes, an interpolation or, in one line, its end
_CHUNKS = {
    '"': re.compile(r'(?:[^"\\\n$]+|\$\$\{|\$(?!\{)|\\[^\n])*'),
    '\\"': re.compile(r'(?:[^"\\\n$]+|\$\$\{|\$(?!\{)|\\[^"\n])*'),
    '"""': re.compile(r'(?:[^"\\$]+|"(?!"")|\$\$\{|\$(?!\{)|\\.)*', re.DOTALL),
}
_AT_LINE_END = re.compile(r"[ \t\r\f]*(?:\#|\n|\Z)")
_IN_TYPES = frozenset({"NAME", "WORD", "STRING", "<", ">", ".", ",", ":", "?", "|", "{", "}", "(", ")", "_NL"})
_OPEN = {")": "(", "]": "[", "}": "{"}


def scan(text: str, start: int = 0, end: int | None = None, *, recovering: bool = False) -> Lexer:
    """Reads text[start:end]. `recovering` keeps the line ends inside brackets, and ends triple-quoted text before
    what is a task or a flow at the start of a line."""
    lexer = Lexer(text, start, len(text) if end is None else end, recovering=recovering)
    lexer.run()
    return lexer


class _Quoted:
    """Quoted text that is being read."""

    __slots__ = ("closer", "has_interpolation", "interpolation", "start")

    def __init__(self, start: int, closer: str) -> None:
        self.start = start
        self.closer = closer
        self.has_interpolation = False
        #: where the interpolation that is being read begins
        self.interpolation = start


class Lexer:
    """The tokens of a text, its problems, and its `##` comments by the offset of the token that follows them."""

    def __init__(self, text: str, start: int, end: int, *, recovering: bool) -> None:
        self.problems: list[Problem] = []
        self.docs: dict[int, str] = {}
        self.types: list[str] = []
        self.values: list[Node] = []
        self._text = text
        self._start = start
        self._end = end
        self._recovering = recovering
        self._stack: list[str] = []
        self._quoted: list[_Quoted] = []

    @property
    def tokens(self) -> Tokens:
        return Tokens(self.types, self.values)

    def run(self) -> None:
        """Reads to the end of the text."""
        text, limit, match = self._text, self._end, _TOKEN.match
        types, values, stack = self.types, self.values, self._stack
        pos, doc = self._start, None
        while True:
            found = match(text, pos, limit)
            assert found is not None
            kind = found.lastgroup
            assert kind is not None
            start, end = found.span(kind)
            pos = end
            if doc is not None and kind != "line":
                self.docs[start], doc = doc, None
            if kind == "word":
                word = found[kind]
                types.append(self._word_type(word, end) if word in KEYWORDS else "NAME")
                values.append(Ident(start, end, word))
                if not word.isascii():
                    self._problem("unknown-character", start, end, character=word, help=foreign_help("name"))
            elif kind == "sign":
                sign = found[kind]
                if sign in "([{":
                    self._open(sign, start)
                elif sign in ")]}":
                    if sign == "}" and self._quoted and self._ends_interpolation():
                        pos = self._unquote(start)
                        continue
                    if stack and stack[-1] == _OPEN[sign]:
                        stack.pop()
                types.append(sign)
                values.append(Token(start, end, sign))
            elif kind == "line":
                doc = self._line_end(start, end, found[kind], doc)
            elif kind == "string":
                types.append("STRING")
                values.append(Literal(start, end, "string", text[start + 1 : end - 1]))
            elif kind == "end":
                break
            else:
                pos = self._rare(kind, start, end, found[kind])
        self._finish()

    # ---- words, signs, numbers ------------------------------------------------------------------------------------

    def _word_type(self, word: str, end: int) -> str:
        """The terminal of a keyword: after `.`, before `:` and (if it is soft) before `=` it is only a word."""
        if self.types and self.types[-1] in (".", "?."):
            return "WORD" if word in HARD else "NAME"
        if word in HARD:
            return "WORD" if _COLON.match(self._text, end, self._end) and self._stack[-1:] != ["["] else word
        return "NAME" if _COLON_OR_EQUALS.match(self._text, end, self._end) else word

    def _open(self, sign: str, start: int) -> None:
        self._stack.append(sign)
        if len(self._stack) == MAX_BRACKETS + 1:
            self._problem("nesting-too-deep", start, start + len(sign), limit=MAX_BRACKETS)

    def _rare(self, kind: str, start: int, end: int, spelt: str) -> int:
        """Everything that is not a word, a sign or a plain string; gives the offset to go on from."""
        if kind == "number" or kind == "date":
            self._number(kind, start, end, spelt)
        elif kind == "quote":
            return self._quote(start, end, spelt)
        elif kind == "foreign":
            return self._foreign(start, end, spelt)
        elif kind == "other":
            self._problem("unknown-character", start, end, character=spelt, help=foreign_help(spelt))
        return end

    def _number(self, kind: str, start: int, end: int, spelt: str) -> None:
        self.types.append("NUMBER" if kind == "number" else "DATE")
        try:
            self.values.append(date_literal(start, end, spelt) if kind == "date" else number(start, end, spelt))
        except BadLiteral as bad:
            self.values.append(Literal(start, end, "int", 0))
            self._problem(bad.finding, start, end, text=spelt[:40], help=bad.help)

    def _foreign(self, start: int, end: int, spelt: str) -> int:
        """Signs of other languages: reported, and read as what they mean here."""
        if spelt[0] in "'“”":
            self._problem("foreign-syntax", start, end, found=spelt[0], help='strings stand in double quotes: "…"')
            self._add("STRING", Literal(start, end, "string", spelt[1:-1]))
            return end
        if spelt[0] == "@":
            self._problem("foreign-syntax", start, end, found=spelt, help=foreign_help("@"))
            return end
        if spelt.startswith("//"):
            self._problem("foreign-syntax", start, end, found="//", help="comments start with `#`")
            return end
        if spelt == "/*":
            closing = self._text.find("*/", end, self._end)
            end = closing + 2 if closing >= 0 else self._end
            self._problem("foreign-syntax", start, start + 2, found="/*", help="comments start with `#`, on each line")
            return end
        reads_as, help = FOREIGN_SIGNS[spelt]
        self._problem("foreign-syntax", start, end, found=spelt, help=help)
        if reads_as and not (reads_as == "_NL" and _AT_LINE_END.match(self._text, end, self._end)):
            self._add(reads_as, Token(start, end, reads_as))
        return end

    # ---- line ends and comments -----------------------------------------------------------------------------------

    def _line_end(self, start: int, end: int, lines: str, doc: str | None) -> str | None:
        """Adds _NL where the line end separates; gives the `##` comment in the lines, or else `doc`."""
        if self._quoted and self._quoted[-1].closer != '"""':
            self._break_off_interpolation(start)
        if "##" in lines and (found := _last_doc(lines, has_code=bool(self.types))) is not None:
            doc = found
        if self._stack and self._stack[-1] != "{" and not self._recovering:
            return doc
        goes_on = _GOES_ON if self._stack else _GOES_ON_OUTSIDE
        if self.types and not self._is_unfinished() and not goes_on.match(self._text, end, self._end):
            self._add("_NL", Token(start, end, "\n"))
        return doc

    def _is_unfinished(self) -> bool:
        """Whether the line ends in an operator; a `>` may also end a type, as in `list<int>`."""
        last = self.types[-1]
        if last != ">":
            return last in TRAILING
        depth = 0
        for index in range(len(self.types) - 1, 0, -1):
            type_ = self.types[index]
            depth += (type_ == ">") - (type_ == "<")
            if depth == 0:
                return self.types[index - 1] not in ("NAME", "WORD")
            if type_ not in _IN_TYPES:
                return True
        return True

    # ---- quoted text ----------------------------------------------------------------------------------------------

    def _quote(self, start: int, end: int, opener: str) -> int:
        if opener == '\\"' and not self._quoted:
            self._problem("unknown-character", start, end, character=opener, help=foreign_help("\\"))
            return end
        return self._read_quoted(_Quoted(start, opener), end)

    def _read_quoted(self, quoted: _Quoted, pos: int) -> int:
        """Reads text up to `${` or to the closing quotes."""
        text, closer = self._text, quoted.closer
        chunk = _CHUNKS[closer].match(text, pos, self._end)
        assert chunk is not None
        end = chunk.end()
        if closer == '"""' and self._recovering and _DECLARATION.search(text, pos, end):
            return self._break_off_text(quoted, pos, end)
        if text.startswith("${", end, self._end):
            self._chars(quoted, pos, end)
            self._add("${", Token(end, end + 2, "${"))
            self._open("${", end)
            self._quoted.append(quoted)
            quoted.interpolation = end
            return end + 2
        if text.startswith(closer, end, self._end):
            return self._end_quoted(quoted, pos, end, end + len(closer))
        return self._break_off_text(quoted, pos, end)

    def _chars(self, quoted: _Quoted, start: int, end: int) -> None:
        if not quoted.has_interpolation:
            quoted.has_interpolation = True
            self._add("QUOTE", Token(quoted.start, start, quoted.closer))
        if start < end:
            self._check_escapes(start, end)
            self._add("CHARS", Token(start, end, self._text[start:end]))

    def _end_quoted(self, quoted: _Quoted, start: int, end: int, closing: int) -> int:
        if quoted.has_interpolation:
            self._chars(quoted, start, end)
            self._add("END_QUOTE", Token(end, closing, quoted.closer))
            return closing
        self._check_escapes(start, end)
        raw: str | None = self._text[start:end]
        if quoted.closer == '"""':
            raw = dedent([raw])[0]
        self._add("STRING", Literal(quoted.start, closing, "string", unescape(raw or "")))
        return closing

    def _ends_interpolation(self) -> bool:
        """Whether a `}` belongs to `${`; parentheses left open in it (found later) do not hide it."""
        while self._stack[-1] in "([":
            if "{" in self._stack[len(self._stack) - self._stack[::-1].index("${") :]:
                return False
            self._stack.pop()
        return self._stack[-1] == "${"

    def _unquote(self, start: int) -> int:
        """At the `}` of an interpolation: takes the text up again."""
        self._stack.pop()
        self._add("UNQUOTE", Token(start, start + 1, "}"))
        return self._read_quoted(self._quoted.pop(), start + 1)

    def _check_escapes(self, start: int, end: int) -> None:
        wrong = escape_error(self._text[start:end])
        if wrong is not None:
            first, last = start + wrong[0], start + wrong[1]
            self._problem("unknown-escape", first, last, escape=self._text[first:last])

    def _break_off_text(self, quoted: _Quoted, start: int, end: int) -> int:
        """Text without closing quotes: ends it where its author most likely meant it to end."""
        if self._quoted and quoted.closer != '"""' and self._quoted[-1].closer != '"""':
            # "${name" leaves the interpolation open, and this quote was meant to close the outer text
            self._break_off_interpolation(quoted.start)
            return quoted.start + len(quoted.closer)
        if quoted.closer == '"""':
            later = _DECLARATION.search(self._text, start, self._end)
            end = later.start() if later else self._end
        else:
            end = start + len(_without_closers(self._text[start:end]))
        opening = quoted.start + len(quoted.closer)
        self._problem("unclosed-string", quoted.start, opening, quote=quoted.closer)
        return self._end_quoted(quoted, start, end, end)

    def _break_off_interpolation(self, at: int, *, all: bool = False) -> None:
        """`${` without `}` at a line end: closes it, and the text of one line around it."""
        outermost = None
        while self._quoted and (all or self._quoted[-1].closer != '"""'):
            outermost = self._quoted.pop()
            while self._stack.pop() != "${":
                pass
            self._add("UNQUOTE", Token(at, at, "}"))
            self._add("END_QUOTE", Token(at, at, outermost.closer))
        if outermost is not None:
            self._problem("unclosed-interpolation", outermost.interpolation, outermost.interpolation + 2)

    # ---- the rest -------------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        end = self._end
        self._break_off_interpolation(end, all=True)
        if self.types and self.types[-1] == "_NL":
            self.types.pop()
            self.values.pop()
        self._add("$END", Token(end, end, ""))

    def _add(self, type_: str, value: Node) -> None:
        self.types.append(type_)
        self.values.append(value)

    def _problem(self, name: str, start: int, end: int, *, help: str | None = None, **fields: object) -> None:
        self.problems.append(Problem(name, start, end, fields, help))


def _without_closers(text: str) -> str:
    """What an unclosed string in `f("text) {` most likely was: brackets at the end of the line are none of it."""
    text = text.rstrip()
    if text.endswith("{"):
        text = text[:-1]
    return text.rstrip(" \t\r)]},")


def _last_doc(lines: str, *, has_code: bool) -> str | None:
    """The text of the last block of `##` lines; the first line does not count if it has code."""
    block: list[str] = []
    is_open = False
    for line in lines.split("\n")[has_code:]:
        doc = _DOC.match(line)
        if doc is None:
            is_open = False
            continue
        if not is_open:
            block, is_open = [], True
        block.append(doc[1])
    return "\n".join(block) if block else None
