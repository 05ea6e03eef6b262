"""Equations as docstrings write them, in plain text, to LaTeX: `dL/dx = δ Wᵀ` becomes a typeset line.

The text is cut into tokens, and read by a small grammar:

    line     = items up to the end
    items    = (factor or sign or word) one after the other
    factor   = atom, with subscripts and powers;  atom = name, number, function or bracketed items
    fraction = factor / factor, as in Python but that it takes one factor on each side

A word that is not the name of a number stands as text between, so a line may be half a sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

TOKEN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<derivative>[d∂](?P<of>L|(?:[A-Za-z]+_\w))/[d∂](?P<by>[A-Za-z]+\u0302?(?:_(?:\w|\{[^}]*\}))?))
  | (?P<jacobian>∂(?P<map>\w)(?:_(?P<index>\w))?/∂(?P<argument>\w(?:_(?:\w|\{[^}]*\}))?))
  | (?P<number>\d+(?:\.\d+)?(?:e-?\d+)?)
  | (?P<dots>\.\.\.?)
  | (?P<operator><=|>=|!=|==|->|\+=|=|<|>|\+|-|\*\*|\*|·|⋆|,|;|:|\.)
  | (?P<fraction>/)
  | (?P<open>[(\[{])
  | (?P<close>[)\]}])
  | (?P<bar>\|)
  | (?P<power>\^)
  | (?P<raised>[ᵀ²³'])
  | (?P<root>√)
  | (?P<quoted>`[^`]*`|"[^"]*")
  | (?P<name>[a-z]{2,}(?:-[a-z]{2,})+|[A-Za-z]{2,}'s|[^\W\d_](?:\u0302)?(?:_?[^\W_ᵀ²³]+(?!\u0302))*)
  | (?P<under>_)
    """,
    re.VERBOSE,
)

OPERATORS = {
    "<=": r"\le ",
    ">=": r"\ge ",
    "!=": r"\ne ",
    "->": r"\to ",
    "+=": r"\mathrel{+}= ",
    "*": r"\cdot ",
    "·": r"\cdot ",
    "⋆": r"\star ",
    "<": "< ",
    ">": "> ",
    ",": ",\\ ",
    ";": ";\\ ",
    ":": r"\text{: }",
    ".": r"\text{.}",
}
FUNCTIONS = {"exp", "log", "max", "min", "tanh", "cos", "erf", "softmax", "sigmoid"}
GREEK = {"alpha", "beta", "gamma", "delta", "pi", "eps"}
LETTERS = {"δ": r"\delta", "Φ": r"\Phi", "φ": r"\varphi", "σ": r"\sigma", "π": r"\pi"}  # noqa: RUF001
NUMBERS = {  # names of more than one letter that stand for a number or an array
    *("oh", "ow", "kh", "kw", "OH", "OW", "KH", "KW", "OL", "lr", "cols", "var", "mean", "std", "count", "factor"),
    *("weight_decay", "momentum", "slow", "fast", "average", "weights", "decay", "running", "beta1", "beta2", "low"),
    *("high", "before", "start", "step", "size", "final", "power", "share"),
}
SUMS = {"sum": r"\sum", "max": r"\max", "mean": r"\operatorname{mean}"}
RAISED = {"ᵀ": r"\mathsf{T}", "²": "2", "³": "3"}
PUNCTUATION = {",", ";", ":", "."}
BRACKETS = {"(": ")", "[": "]", "{": "}"}


class EquationError(ValueError):
    """A line that is not of the notation."""


def parts(text: str) -> list[tuple[str, str]]:
    """Cut a line into ("words", text), ("math", LaTeX) and ("gap", ""), so that it can be wrapped between them."""
    found: list[list[str]] = []
    for kind, part in _Reader(text).parts():
        if found and found[-1][0] == kind:
            found[-1][1] += part
        else:
            found.append([kind, part])
    return [(kind, _tidy(part)) for kind, part in found if part.strip() or kind == "gap"]


def latex(text: str) -> str:
    """Give the LaTeX of one line."""
    return _tidy(_Reader(text).items(None))


def _tidy(text: str) -> str:
    text = re.sub(r"~(?=\s*[,;:.)]|\s*\\right|\s*$)|^\s*~|(?<=[,(])\s*~", "", text)
    text = text.replace(r"~\, ", "~ ")
    return re.sub(r"\s+", " ", text).strip().removesuffix("\\").strip()


class _Reader:
    def __init__(self, text: str):
        self.text = text.strip()
        self.tokens: list[tuple[str, str, re.Match]] = []
        position = 0
        while position < len(self.text):
            match = TOKEN.match(self.text, position)
            if match is None:
                raise EquationError(f"cannot read {self.text[position]!r} in {self.text!r}")
            kind = match.lastgroup or ""
            for outer in ("derivative", "jacobian"):  # their parts are groups too
                if match[outer]:
                    kind = outer
            self.tokens.append((kind, match[0], match))
            position = match.end()
        self.at = 0

    def peek(self, ahead: int = 0) -> tuple[str, str]:
        index = self.at + ahead
        return self.tokens[index][:2] if index < len(self.tokens) else ("end", "")

    def following(self) -> tuple[str, str]:
        """The next token that is no space, without taking it."""
        ahead = 0
        while self.peek(ahead)[0] == "space":
            ahead += 1
        return self.peek(ahead)

    def take(self) -> tuple[str, str, re.Match]:
        self.at += 1
        return self.tokens[self.at - 1]

    def items(self, until: str | None) -> str:
        """Everything up to a closing bracket, which is left, or the end."""
        out: list[str] = []
        while self.at < len(self.tokens):
            kind, text = self.peek()
            if text == until:
                return "".join(out)
            if kind == "name" and self.is_word(text):
                out.append(rf"~\text{{{self.words()}}}~")
            else:
                out.append(self.item())
        if until is not None:
            raise EquationError(f"{until!r} is missing in {self.text!r}")
        return "".join(out)

    def parts(self) -> Iterator[tuple[str, str]]:
        """The whole line."""
        words = noted = False
        while self.at < len(self.tokens):
            kind, text = self.peek()
            last = self.at == len(self.tokens) - 1
            if kind == "space" and len(text) > 1:
                self.take()
                words = False
                aligned = self.peek()[1] == "="  # with that of the line above
                yield ("math", " ") if aligned else ("gap", "")
                if self.peek()[1] == "(" and self.text.endswith(")") and self.has_words():  # a note ends the line
                    words = noted = True
                    yield "words", self.take()[1]
            elif noted and last and text == ")":
                yield "words", self.take()[1]
            elif kind == "name" and self.is_word(text):
                words = True
                yield "words", self.words()
            elif words and (kind == "space" or text in PUNCTUATION):
                yield "words", self.take()[1]
            else:
                words = False
                yield "math", self.item()

    def has_words(self) -> bool:
        """Whether what is left of the line has words of the language."""
        left = {text for kind, text, _ in self.tokens[self.at :] if kind == "name" and len(text) > 2}
        return bool(left - NUMBERS - GREEK - FUNCTIONS)

    def item(self) -> str:
        kind, text = self.peek()
        if kind == "space":
            return self.space()
        if kind in ("operator", "dots"):
            self.take()
            return r"\dots " if kind == "dots" else OPERATORS.get(text, text)
        return self.product_of_fractions()

    def space(self) -> str:
        """A space; a narrow one between factors, so that `oh s` is not read as one name."""
        before = self.peek(-1)[0] if self.at else ""
        text = self.take()[1]
        kind, after = self.peek()
        if before in ("name", "number", "close", "raised") and kind in ("name", "number", "open", "derivative"):
            return text if kind == "name" and self.is_word(after) else r"\, "
        return text

    def is_word(self, text: str) -> bool:
        """Whether a name is a word of the language."""
        base = text.split("_")[0].rstrip("\u0302")
        if text.split("_")[0] in SUMS and self.big_operator(look=True):
            return False
        if text in ("a", "A", "I"):  # an article, if another word follows
            ahead = self.at + 1
            rest = [t for t in self.tokens[ahead : ahead + 2] if t[0] != "space"]
            return bool(rest) and rest[0][0] == "name" and len(rest[0][1]) > 1 and rest[0][1] not in NUMBERS
        if len(base) == 1 or text in NUMBERS or text in GREEK or text in FUNCTIONS:
            return text in FUNCTIONS and self.peek(1)[1] not in ("(", "_") and text not in ("log", "exp", "tanh")
        called = self.peek(1)[1] == "("
        return not called

    def words(self) -> str:
        """Words one after the other, as text."""
        out = [self.take()[1]]
        while self.peek()[0] == "space" and self.peek(1)[0] == "name":
            self.at += 1
            if not self.is_word(self.peek()[1]):
                self.at -= 1
                break
            out.append(self.take()[1])
        return " ".join(out)

    def product_of_fractions(self) -> str:
        """One factor, or what is divided by what follows."""
        result, bare = self.factor()
        while self.following()[0] == "fraction":
            self.spaces()
            self.take()
            self.spaces()
            if self.at == len(self.tokens):
                raise EquationError(f"nothing below the line of {self.text!r}")
            _, below = self.below()
            result = bare = rf"\frac{{{bare}}}{{{below}}}"
        return result

    def below(self) -> tuple[str, str]:
        """What a fraction divides by: a factor, or a whole sum."""
        kind, text = self.peek()
        if kind == "name" and text.split("_")[0] in SUMS and self.big_operator(look=True):
            head = self.big_operator()
            self.spaces()
            return "", head + self.factor()[0]
        return self.factor()

    def spaces(self) -> None:
        while self.peek()[0] == "space":
            self.at += 1

    def factor(self) -> tuple[str, str]:
        """An atom with its subscripts and powers, as it is and without brackets around it."""
        kind, text = self.peek()
        if kind == "name" and text.split("_")[0] in SUMS and self.big_operator(look=True):
            head = self.big_operator()
            return head, head
        kind_of = kind
        whole, bare = self.atom()
        low, up = "", ""
        while True:
            kind, text = self.peek()
            if kind == "raised":
                self.take()
                up += r"\prime " if text == "'" else RAISED[text]
            elif kind == "power":
                self.take()
                up += self.bracketed() if self.peek()[0] == "open" else self.take()[1]
            elif kind == "under":
                self.take()
                low += self.subscript()
            elif text == "[":
                low += ("," if low else "") + self.bracketed()
            elif text == "(" and self.is_function(whole):
                inside = self.bracketed()
                whole = rf"{whole}{_scripts(low, up)}\left({inside}\right)"
                return whole, whole
            else:
                break
        if low and kind_of == "derivative":  # dL/dW[i, j] is by W[i, j]
            return (result := f"{whole[:-1]}_{{{low}}}}}{_scripts('', up)}"), result
        if low or up:
            whole += _scripts(low, up)
            return whole, whole
        return whole, bare

    def is_function(self, whole: str) -> bool:
        return self.peek(-1)[0] in ("name", "raised", "under") or "operatorname" in whole

    def subscript(self) -> str:
        kind = self.peek()[0]
        if kind == "open":
            return self.bracketed()
        if kind in ("name", "number"):
            return self.take()[1]
        raise EquationError(f"no subscript after _ in {self.text!r}")

    def bracketed(self) -> str:
        """What is within brackets, without them."""
        opened = self.take()[1]
        inside = self.items(BRACKETS[opened])
        self.take()
        return inside

    def atom(self) -> tuple[str, str]:
        kind, text, match = self.take()
        if kind == "derivative":
            result = rf"\frac{{\partial {_name(match['of'])}}}{{\partial {_name(match['by'])}}}"
        elif kind == "jacobian":
            above = match["map"] + (f"_{match['index']}" if match["index"] else "")
            result = rf"\frac{{\partial {_name(above)}}}{{\partial {_name(match['argument'])}}}"
        elif kind == "number":
            one = self.peek()[1] == "["  # 1[...]: 1 where it holds, else 0
            result = rf"\mathbf{{{text}}}" if one else text
        elif kind == "root":
            _, inside = self.atom()
            result = rf"\sqrt{{{inside}}}"
        elif kind == "open":
            self.at -= 1
            inside = self.bracketed()
            pair = (r"\{", r"\}") if text == "{" else (text, BRACKETS[text])
            if (
                text == "("
                and re.fullmatch(r"\\frac\{\w+\}\{(\w+|\\mathrm\{\w+\})\}", inside)
                and self.peek()[0] != "power"
            ):
                return inside, inside  # (1/N)
            return rf"\left{pair[0]}{inside}\right{pair[1]}", inside
        elif kind == "bar":
            inside = self.items("|")
            self.take()
            result = rf"\left|{inside}\right|"
        elif kind == "quoted":
            result = rf"\text{{{text.strip('`')}}}"
        elif kind == "name" and text in ("sqrt", "floor") and self.peek()[1] == "(":
            inside = self.bracketed()
            result = rf"\sqrt{{{inside}}}" if text == "sqrt" else rf"\left\lfloor {inside}\right\rfloor "
        elif kind == "name":
            result = _name(text)
        else:
            raise EquationError(f"{text!r} begins nothing in {self.text!r}")
        return result, result

    def big_operator(self, look: bool = False) -> str:
        """`sum over i, j of`, `sum_n`, `max over kh, kw of`, `mean over h, w of`; "" if this is not one."""
        rest = "".join(text for _, text, _ in self.tokens[self.at :])
        word = next(word for word in SUMS if rest.startswith(word))
        match = re.match(r"\w+ over ((?:\w{1,2}(?:, )?)+?) of ", rest) or re.match(r"\w+_(\{[^}]*\}|\w)\s?", rest)
        if match is None and word == "sum" and (match := re.match(r"sum (?=[(1])", rest)):
            if not look:
                self.skip(match.end())
            return r"\sum "
        if match is None:
            return ""
        if not look:
            self.skip(match.end())
        index = match[1].strip("{}")
        index = latex(index) if re.search(r"\W", index) else index
        return rf"{SUMS[word]}_{{{index}}} "

    def skip(self, characters: int) -> None:
        while characters > 0:
            characters -= len(self.take()[1])


def _scripts(low: str, up: str) -> str:
    return (f"_{{{low}}}" if low else "") + (f"^{{{up}}}" if up else "")


def _name(text: str) -> str:
    """A variable: one letter in italics, a Greek letter by its name, a word upright; with its subscript."""
    if text.startswith(("running_", "weight_")):
        return rf"\mathrm{{{text.replace('_', chr(92) + '_')}}}"
    base, _, index = text.partition("_")
    hat = base.endswith("\u0302")
    base = base.rstrip("\u0302")
    index = index.strip("{}")
    if base in LETTERS:
        result = LETTERS[base]
    elif base in ("beta1", "beta2"):
        result = rf"\beta_{base[-1]}"
    elif base == "eps":
        result = r"\varepsilon"
    elif base in GREEK:
        result = rf"\{base}"
    elif len(base) == 1:
        result = base
    elif base in FUNCTIONS:
        result = rf"\operatorname{{{base}}}"
    else:
        result = rf"\mathrm{{{base}}}"
    if hat:
        result = rf"\hat{{{result}}}"
    return result + (f"_{{{index}}}" if index else "")
