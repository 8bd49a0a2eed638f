//! Text to tokens.

use super::error::{Fault, Problem};
use std::ops::Range;

/// A word of a formula.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A number as written; `value` is the nearest `f64`, `exact` tells whether an integer is held exactly.
    Number { value: f64, text: String, exact: bool },
    /// A plain word: a name, a keyword or a function.
    Word(String),
    /// Text in quotes.
    Quoted(String),
    /// An operator or bracket.
    Symbol(&'static str),
    /// The end of the formula.
    End,
}

impl Token {
    /// For error messages.
    pub(super) fn describe(&self) -> String {
        match self {
            Token::Number { text, .. } => format!("`{text}`"),
            Token::Word(word) => format!("`{word}`"),
            Token::Quoted(text) => format!("`\"{text}\"`"),
            Token::Symbol(symbol) => format!("`{symbol}`"),
            Token::End => "the end".to_owned(),
        }
    }
}

/// A token and its place in the formula, in bytes.
#[derive(Clone, Debug)]
pub(super) struct Lexed {
    pub(super) token: Token,
    pub(super) span: Range<usize>,
}

/// Longer symbols first, so that `**` is not read as two `*`.
const SYMBOLS: [&str; 20] =
    ["**", "//", "<=", ">=", "==", "!=", "+", "-", "*", "/", "%", "^", "<", ">", "=", "(", ")", "[", "]", ","];

/// What other languages write, and what to write here.
const FOREIGN: [(&str, &str); 12] = [
    ("&&", "write `and`"),
    ("||", "write `or`"),
    ("<>", "write `!=`"),
    ("<<", "there are no bit shifts; `bit(x, n)` tests a bit"),
    (">>", "there are no bit shifts; `bit(x, n)` tests a bit"),
    ("&", "write `and` between conditions, `bit(x, n)` or `flag(x, \"name\")` to test bits"),
    ("|", "write `or` between conditions"),
    ("~", "write `not`"),
    ("!", "write `not`"),
    ("?", "write `where(condition, a, b)`"),
    (";", "give each formula on its own"),
    (".", "quote names that have a `.` in them"),
];

pub(super) fn lex(text: &str) -> Result<Vec<Lexed>, Fault> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        let next_is_digit = rest[c.len_utf8()..].starts_with(|d: char| d.is_ascii_digit());
        let (token, length) = if c.is_ascii_digit() || (c == '.' && next_is_digit) {
            number(rest, at)?
        } else if starts_name(c) {
            let length = rest.find(|c| !continues_name(c)).unwrap_or(rest.len());
            (Token::Word(rest[..length].to_owned()), length)
        } else if c == '"' || c == '\'' {
            let Some(length) = rest[1..].find(c) else {
                return Err(Fault::new(Problem::Unclosed { quote: c }, &(at..at + 1)));
            };
            (Token::Quoted(rest[1..1 + length].to_owned()), length + 2)
        } else {
            let foreign = FOREIGN.iter().find(|(s, _)| rest.starts_with(s));
            // `!=` is a symbol here although `!` is not; `<<` is foreign although `<` is not.
            match SYMBOLS.iter().find(|s| rest.starts_with(**s)) {
                Some(symbol) if foreign.is_none_or(|(s, _)| s.len() <= symbol.len()) => {
                    (Token::Symbol(symbol), symbol.len())
                }
                _ => {
                    let symbol = foreign.map_or_else(|| c.to_string(), |(s, _)| (*s).to_owned());
                    let span = at..at + symbol.len();
                    let hint = foreign.map(|(_, hint)| (*hint).to_owned());
                    return Err(Fault::new(Problem::Symbol { symbol, hint }, &span));
                }
            }
        };
        tokens.push(Lexed { token, span: at..at + length });
        at += length;
    }
    tokens.push(Lexed { token: Token::End, span: text.len()..text.len() });
    Ok(tokens)
}

fn starts_name(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}

fn continues_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Reads the number at the start of `rest`, which stands at byte `at`.
fn number(rest: &str, at: usize) -> Result<(Token, usize), Fault> {
    let bytes = rest.as_bytes();
    let digits = |from: usize, radix: u32| {
        let more = bytes[from.min(bytes.len())..].iter();
        from + more.take_while(|b| char::from(**b).is_digit(radix) || **b == b'_').count()
    };
    let radix = match bytes.get(1).map(u8::to_ascii_lowercase) {
        Some(b'x') if bytes[0] == b'0' => 16,
        Some(b'b') if bytes[0] == b'0' => 2,
        Some(b'o') if bytes[0] == b'0' => 8,
        _ => 10,
    };
    let (mut end, mut whole) = (0, true);
    if radix == 10 {
        end = digits(end, 10);
        if bytes.get(end) == Some(&b'.') {
            whole = false;
            end = digits(end + 1, 10);
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            let exponent = digits(end + 1 + sign, 10);
            if exponent > end + 1 + sign {
                whole = false;
                end = exponent;
            }
        }
    } else {
        end = digits(2, radix);
    }
    // A name may not begin with a digit: `8A` is a slip, not 8 times `A`.
    let tail = rest[end..].find(|c| !continues_name(c) && c != '.').unwrap_or(rest.len() - end);
    let text = &rest[..end + tail];
    let fail = |why, hint: Option<String>| {
        let problem = Problem::Number { text: text.to_owned(), why, hint };
        Err(Fault::new(problem, &(at..at + text.len())))
    };
    let clean: String = text.chars().filter(|c| *c != '_').collect();
    let misplaced = text.contains("__") || text.ends_with('_') || text.contains("_.") || text.contains("._");
    if tail > 0 || misplaced || (radix != 10 && clean.len() == 2) {
        let hint = format!("write `*` to multiply, quotes around a name: `\"{text}\"`");
        return fail("is not a number", Some(hint));
    }
    let (value, exact) = if whole {
        let digits = if radix == 10 { &clean[..] } else { &clean[2..] };
        match u128::from_str_radix(digits, radix) {
            // A cast back saturates at most at 2^128, which no `u128` equals.
            Ok(n) => (n as f64, n as f64 <= 2f64.powi(127) && n as f64 as u128 == n),
            Err(_) => {
                return fail("is too long for an integer", Some("write it as `1e40`".to_owned()));
            }
        }
    } else {
        match clean.parse::<f64>() {
            Ok(value) => (value, true),
            Err(_) => return fail("is not a number", None),
        }
    };
    if value.is_infinite() {
        return fail("is larger than any 64-bit floating-point number", Some("write `inf`".to_owned()));
    }
    Ok((Token::Number { value, text: text.to_owned(), exact }, end))
}
