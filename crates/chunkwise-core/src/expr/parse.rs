//! Tokens to a tree: Python's precedence, bounded depth.
//!
//! The tree is a list of nodes in which operands stand before what uses them, so that later passes are loops
//! and not recursions: a sum of ten thousand terms is deep on its left side.

use super::error::{ExprError, Fault, Problem};
use super::lex::{Lexed, Token, lex};
use super::program::Binary;
use super::{MAX_DEPTH, MAX_LENGTH};
use std::ops::Range;

/// Position of a node in its formula.
pub(super) type NodeId = usize;

/// A part of a formula and its place in the text, in bytes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) kind: NodeKind,
    pub(super) span: Range<usize>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum NodeKind {
    /// A number; NaN is `missing`.
    Constant(f64),
    Name(String),
    Pick {
        name: String,
        picks: Vec<Pick>,
    },
    Negate(NodeId),
    Not(NodeId),
    Binary(Binary, NodeId, NodeId),
    Call {
        function: String,
        args: Vec<NodeId>,
    },
    /// `flag(of, "flag")`, apart because its second argument is no expression.
    Flag {
        of: NodeId,
        flag: String,
        flag_span: Range<usize>,
    },
}

/// `dim=label` as written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pick {
    pub(super) dim: String,
    pub(super) label: PickLabel,
    pub(super) dim_span: Range<usize>,
    pub(super) label_span: Range<usize>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum PickLabel {
    Number { value: f64, text: String },
    Text(String),
}

/// A formula that has been read, but not yet checked against the names of a cube.
#[derive(Clone, Debug, PartialEq)]
pub struct Formula {
    pub(super) text: String,
    pub(super) name: Option<(String, Range<usize>)>,
    pub(super) body: Range<usize>,
    pub(super) nodes: Vec<Node>,
    pub(super) root: NodeId,
}

impl Formula {
    /// The name it is assigned to, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.name.as_ref().map(|(name, _)| name.as_str())
    }

    /// The same formula under another name, for callers that take the name apart from the expression.
    ///
    /// # Errors
    /// As for a name that is written in the formula.
    pub fn with_name(mut self, name: &str) -> Result<Formula, ExprError> {
        let span = 0..0;
        valid_output(name, &span).map_err(|fault| fault.within(&self.text))?;
        self.name = Some((name.to_owned(), span));
        Ok(self)
    }

    /// Names that it reads, as written: of variables, labels and earlier formulas, and of dimensions in brackets.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().flat_map(|node| {
            let (name, picks) = match &node.kind {
                NodeKind::Name(name) => (Some(name), [].as_slice()),
                NodeKind::Pick { name, picks } => (Some(name), picks.as_slice()),
                _ => (None, [].as_slice()),
            };
            name.into_iter().chain(picks.iter().map(|pick| &pick.dim)).map(String::as_str)
        })
    }

    /// The whole text as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The expression without its name: what goes into the attribute `long_name` of the output.
    pub fn long_name(&self) -> &str {
        &self.text[self.body.clone()]
    }
}

/// Reads `name = expression` or an expression alone.
///
/// # Errors
/// Text that is not a formula, longer than [`MAX_LENGTH`] or nested deeper than [`MAX_DEPTH`].
pub fn parse(text: &str) -> Result<Formula, ExprError> {
    read(text, true).map_err(|fault| fault.within(if text.len() > MAX_LENGTH { "" } else { text }))
}

/// Reads an expression alone, as a mask or a zone is written.
///
/// # Errors
/// As [`parse`], and for `name = …`.
pub fn parse_condition(text: &str) -> Result<Formula, ExprError> {
    read(text, false).map_err(|fault| fault.within(if text.len() > MAX_LENGTH { "" } else { text }))
}

fn read(text: &str, may_assign: bool) -> Result<Formula, Fault> {
    if text.len() > MAX_LENGTH {
        return Err(Fault::new(Problem::TooLong { length: text.len() }, &(0..0)));
    }
    let mut parser = Parser { tokens: lex(text)?, at: 0, depth: 0, nodes: Vec::new() };
    let name = if may_assign { parser.assignment()? } else { None };
    let start = parser.peek_span().start;
    let root = parser.expression(LOOSEST)?;
    if *parser.peek() != Token::End {
        return Err(parser.unexpected("an operator or the end"));
    }
    let end = parser.tokens[parser.at - 1].span.end;
    Ok(Formula { text: text.to_owned(), name, body: start..end, nodes: parser.nodes, root })
}

/// Words that are not names unless they are quoted.
const KEYWORDS: [&str; 11] = ["and", "or", "not", "true", "false", "True", "False", "missing", "nan", "inf", "lambda"];

/// Binding powers, as in Python from loose to tight.
const LOOSEST: u8 = 0;
const NOT: u8 = 5;
const COMPARISON: u8 = 6;
const SIGN: u8 = 13;
const POWER: u8 = 15;

/// How a symbol or word between two operands binds: its operation, its power, that of its right operand.
fn infix(token: &Token) -> Option<(Binary, u8, u8)> {
    let word = match token {
        Token::Symbol(symbol) => symbol,
        Token::Word(word) => word.as_str(),
        _ => return None,
    };
    Some(match word {
        "or" => (Binary::Or, 1, 2),
        "and" => (Binary::And, 3, 4),
        "<" => (Binary::Less, COMPARISON, COMPARISON + 1),
        "<=" => (Binary::LessEqual, COMPARISON, COMPARISON + 1),
        ">" => (Binary::Greater, COMPARISON, COMPARISON + 1),
        ">=" => (Binary::GreaterEqual, COMPARISON, COMPARISON + 1),
        "==" => (Binary::Equal, COMPARISON, COMPARISON + 1),
        "!=" => (Binary::NotEqual, COMPARISON, COMPARISON + 1),
        "+" => (Binary::Add, 9, 10),
        "-" => (Binary::Subtract, 9, 10),
        "*" => (Binary::Multiply, 11, 12),
        "/" => (Binary::Divide, 11, 12),
        "//" => (Binary::FloorDivide, 11, 12),
        "%" => (Binary::Modulo, 11, 12),
        // Right-associative, and its right operand may have a sign.
        "**" | "^" => (Binary::Power, POWER, SIGN),
        _ => return None,
    })
}

/// What a reader of another language meant by a word or sign that cannot stand where it does.
fn meant(token: &Token) -> Option<String> {
    let hint = match token {
        Token::Symbol("=") => "`==` compares; a name is given once, at the start: `name = expression`",
        Token::Symbol("(" | "[") => "write `*` to multiply",
        Token::Symbol("**" | "*" | "//" | "/" | "%") => "an operand is missing before the operator",
        Token::Word(word) => match word.as_str() {
            "if" | "else" => "write `where(condition, a, b)`",
            "in" => "write `isin(x, a, b)`",
            "is" => "write `ismissing(x)` or `==`",
            "not" => "put `not …` in parentheses",
            "None" | "null" | "NA" => "write `missing`",
            _ => return None,
        },
        _ => return None,
    };
    Some(hint.to_owned())
}

struct Parser {
    tokens: Vec<Lexed>,
    at: usize,
    depth: usize,
    nodes: Vec<Node>,
}

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.at].token
    }

    fn peek_span(&self) -> Range<usize> {
        self.tokens[self.at].span.clone()
    }

    /// Takes the next token; the end stays.
    fn next(&mut self) -> Lexed {
        let lexed = self.tokens[self.at].clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        lexed
    }

    fn take(&mut self, symbol: &'static str) -> bool {
        let found = *self.peek() == Token::Symbol(symbol);
        if found {
            self.next();
        }
        found
    }

    fn expect(&mut self, symbol: &'static str, expected: &str) -> Result<Range<usize>, Fault> {
        match *self.peek() == Token::Symbol(symbol) {
            true => Ok(self.next().span),
            false => Err(self.unexpected(expected)),
        }
    }

    fn unexpected(&self, expected: &str) -> Fault {
        let token = self.peek();
        let problem =
            Problem::Unexpected { expected: expected.to_owned(), found: token.describe(), hint: meant(token) };
        Fault::new(problem, &self.peek_span())
    }

    fn push(&mut self, kind: NodeKind, span: Range<usize>) -> NodeId {
        self.nodes.push(Node { kind, span });
        self.nodes.len() - 1
    }

    /// `name =` at the start.
    fn assignment(&mut self) -> Result<Option<(String, Range<usize>)>, Fault> {
        if self.tokens.get(1).map(|t| &t.token) != Some(&Token::Symbol("=")) {
            return Ok(None);
        }
        let Lexed { token, span } = self.next();
        let name = match token {
            Token::Word(word) if KEYWORDS.contains(&word.as_str()) => {
                return Err(Fault::new(Problem::OutputName { name: word, why: "it is a word of the language" }, &span));
            }
            Token::Word(name) | Token::Quoted(name) => name,
            _ => {
                self.at = 0;
                return Err(self.unexpected("a name before `=`"));
            }
        };
        valid_output(&name, &span)?;
        self.next();
        Ok(Some((name, span)))
    }

    fn expression(&mut self, loosest: u8) -> Result<NodeId, Fault> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Fault::new(Problem::TooDeep, &self.peek_span()));
        }
        let mut left = self.operand(loosest)?;
        while let Some((operation, power, right_power)) = infix(self.peek()) {
            if power < loosest {
                break;
            }
            self.next();
            if power == COMPARISON {
                left = self.comparisons(left, operation)?;
                continue;
            }
            let right = self.expression(right_power)?;
            left = self.binary(operation, left, right);
        }
        self.depth -= 1;
        Ok(left)
    }

    fn binary(&mut self, operation: Binary, left: NodeId, right: NodeId) -> NodeId {
        let span = self.nodes[left].span.start..self.nodes[right].span.end;
        self.push(NodeKind::Binary(operation, left, right), span)
    }

    /// `a < b < c` is `a < b and b < c`.
    fn comparisons(&mut self, first: NodeId, operation: Binary) -> Result<NodeId, Fault> {
        let mut right = self.expression(COMPARISON + 1)?;
        let mut all = self.binary(operation, first, right);
        while let Some((operation, COMPARISON, _)) = infix(self.peek()) {
            self.next();
            let next = self.expression(COMPARISON + 1)?;
            let one = self.binary(operation, right, next);
            all = self.binary(Binary::And, all, one);
            right = next;
        }
        Ok(all)
    }

    /// A value, with the signs before it.
    fn operand(&mut self, loosest: u8) -> Result<NodeId, Fault> {
        const EXPECTED: &str = "a number, a name or `(`";
        match self.peek().clone() {
            Token::Symbol(sign @ ("-" | "+")) => {
                let start = self.next().span.start;
                let of = self.expression(SIGN)?;
                let span = start..self.nodes[of].span.end;
                Ok(if sign == "-" { self.push(NodeKind::Negate(of), span) } else { of })
            }
            Token::Word(word) if word == "not" && loosest <= NOT => {
                let start = self.next().span.start;
                let of = self.expression(NOT)?;
                let span = start..self.nodes[of].span.end;
                Ok(self.push(NodeKind::Not(of), span))
            }
            Token::Symbol("(") => {
                let start = self.next().span.start;
                let inner = self.expression(LOOSEST)?;
                let end = self.expect(")", "`)` or an operator")?.end;
                self.nodes[inner].span = start..end;
                Ok(inner)
            }
            Token::Number { value, text, exact } => {
                let span = self.next().span;
                if !exact {
                    let why = "cannot be held exactly: integers are exact up to 2^53";
                    return Err(Fault::new(Problem::Number { text, why, hint: None }, &span));
                }
                Ok(self.push(NodeKind::Constant(value), span))
            }
            Token::Quoted(name) => {
                let span = self.next().span;
                self.picked(name, span)
            }
            Token::Word(word) => match word.as_str() {
                "true" | "True" => Ok(self.constant(1.0)),
                "false" | "False" => Ok(self.constant(0.0)),
                "missing" | "nan" => Ok(self.constant(f64::NAN)),
                "inf" => Ok(self.constant(f64::INFINITY)),
                keyword if KEYWORDS.contains(&keyword) => Err(self.unexpected(EXPECTED)),
                _ => {
                    let span = self.next().span;
                    if *self.peek() == Token::Symbol("(") { self.call(word, span) } else { self.picked(word, span) }
                }
            },
            _ => Err(self.unexpected(EXPECTED)),
        }
    }

    fn constant(&mut self, value: f64) -> NodeId {
        let span = self.next().span;
        self.push(NodeKind::Constant(value), span)
    }

    /// The arguments of a function whose name has been read.
    fn call(&mut self, function: String, name: Range<usize>) -> Result<NodeId, Fault> {
        self.next();
        let mut args = Vec::new();
        let mut flag = None;
        while *self.peek() != Token::Symbol(")") {
            if function == "flag" && args.len() == 1 && flag.is_none() {
                let (text, span) = self.text("the name of a flag, as `\"cloud\"`")?;
                flag = Some((text, span));
            } else {
                args.push(self.expression(LOOSEST)?);
            }
            if !self.take(",") {
                break;
            }
        }
        let end = self.expect(")", "`,` or `)`")?.end;
        let span = name.start..end;
        let kind = match (flag, &args[..]) {
            (Some((flag, flag_span)), [of]) => NodeKind::Flag { of: *of, flag, flag_span },
            (Some(_), _) => {
                let given = args.len() + 1;
                return Err(Fault::new(Problem::Arguments { usage: "flag(variable, \"name\")", given }, &span));
            }
            (None, _) => NodeKind::Call { function, args },
        };
        Ok(self.push(kind, span))
    }

    /// A word or quoted text that is a name in its own right: a dimension, a flag.
    fn text(&mut self, expected: &str) -> Result<(String, Range<usize>), Fault> {
        match self.peek().clone() {
            Token::Word(text) | Token::Quoted(text) => Ok((text, self.next().span)),
            _ => Err(self.unexpected(expected)),
        }
    }

    /// A name that has been read, and the cells picked from it.
    fn picked(&mut self, name: String, span: Range<usize>) -> Result<NodeId, Fault> {
        if !self.take("[") {
            return Ok(self.push(NodeKind::Name(name), span));
        }
        const EXPECTED: &str = "`dimension=label`";
        let mut picks = Vec::new();
        loop {
            let (dim, dim_span) = self.text(EXPECTED)?;
            if !self.take("=") && !self.take("==") {
                return Err(self.unexpected("`=` and a label"));
            }
            let start = self.peek_span().start;
            let sign = [("-", -1.0), ("+", 1.0)].into_iter().find(|(sign, _)| self.take(sign));
            let label = match (self.peek().clone(), sign) {
                (Token::Number { value, text, .. }, None) => PickLabel::Number { value, text },
                (Token::Number { value, text, .. }, Some((sign, factor))) => {
                    PickLabel::Number { value: factor * value, text: format!("{sign}{text}") }
                }
                (Token::Word(text) | Token::Quoted(text), None) => PickLabel::Text(text),
                _ => return Err(self.unexpected("a label: a number, a name or quoted text")),
            };
            let label_span = start..self.next().span.end;
            picks.push(Pick { dim, label, dim_span, label_span });
            if !self.take(",") {
                break;
            }
        }
        let end = self.expect("]", "`,` or `]`")?.end;
        Ok(self.push(NodeKind::Pick { name, picks }, span.start..end))
    }
}

/// Refuses names that no store could hold.
fn valid_output(name: &str, span: &Range<usize>) -> Result<(), Fault> {
    let why = if name.trim().is_empty() {
        "it is empty"
    } else if name.contains(['/', '\\']) || name.chars().any(char::is_control) {
        "it has a slash or a control character"
    } else if name.chars().all(|c| c == '.') || name.starts_with("__") {
        "names of dots, or beginning with `__`, are reserved by Zarr"
    } else if name.len() > 255 {
        "it is longer than 255 bytes"
    } else {
        return Ok(());
    };
    Err(Fault::new(Problem::OutputName { name: name.to_owned(), why }, span))
}

#[cfg(test)]
mod tests;
