//! Words of MLIR's textual form, one at a time.

use crate::error::Result;
use crate::source::Source;

/// A word.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Token<'t> {
    /// `stablehlo.add`, `dense`, `x`
    Word(&'t str),
    /// `%arg0`, without the sign
    Value(&'t str),
    /// `@main`, without the sign and the quotes
    Symbol(&'t str),
    /// `#loc1`, `#stablehlo.gather`, without the sign
    Hash(&'t str),
    /// `!stablehlo.token`, without the sign
    Bang(&'t str),
    /// `^bb0`, without the sign
    Block(&'t str),
    /// `-1`, `2.5e-3`, `0xFF`
    Number(&'t str),
    /// What stands between quotes, escapes as written
    Text(&'t str),
    /// `->`
    Arrow,
    /// One character
    Sign(u8),
    /// There is no more
    End,
}

impl Token<'_> {
    /// The word as it would be named in an error.
    pub(crate) fn describe(&self) -> String {
        match self {
            Token::Word(s) | Token::Number(s) => format!("`{s}`"),
            Token::Value(s) => format!("`%{s}`"),
            Token::Symbol(s) => format!("`@{s}`"),
            Token::Hash(s) => format!("`#{s}`"),
            Token::Bang(s) => format!("`!{s}`"),
            Token::Block(s) => format!("`^{s}`"),
            Token::Text(_) => "a string".into(),
            Token::Arrow => "`->`".into(),
            Token::Sign(c) => format!("`{}`", char::from(*c)),
            Token::End => "the end of the text".into(),
        }
    }
}

/// Reads words from a text; it looks one word ahead.
pub(crate) struct Lexer<'t> {
    pub(crate) source: Source<'t>,
    /// Where the next word, or the space before it, starts.
    at: usize,
    ahead: Option<(usize, Token<'t>, usize)>,
}

impl<'t> Lexer<'t> {
    pub(crate) fn new(source: Source<'t>) -> Lexer<'t> {
        Lexer {
            source,
            at: 0,
            ahead: None,
        }
    }

    fn bytes(&self) -> &'t [u8] {
        self.source.text.as_bytes()
    }

    pub(crate) fn byte(&self, at: usize) -> Option<u8> {
        self.bytes().get(at).copied()
    }

    /// The text between two places.
    pub(crate) fn slice(&self, from: usize, to: usize) -> &'t str {
        self.source.text.get(from..to).unwrap_or_default()
    }

    /// Where the next word starts.
    pub(crate) fn start(&mut self) -> usize {
        match self.ahead {
            Some((start, ..)) => start,
            None => {
                self.at = self.skip_space(self.at);
                self.at
            }
        }
    }

    /// Go on reading at a place.
    pub(crate) fn seek(&mut self, at: usize) {
        self.at = at;
        self.ahead = None;
    }

    fn skip_space(&self, mut at: usize) -> usize {
        let bytes = self.bytes();
        loop {
            match bytes.get(at) {
                Some(b' ' | b'\t' | b'\n' | b'\r') => at += 1,
                Some(b'/') if bytes.get(at + 1) == Some(&b'/') => {
                    while bytes.get(at).is_some_and(|b| *b != b'\n') {
                        at += 1;
                    }
                }
                _ => return at,
            }
        }
    }

    fn run(&self, from: usize, fits: impl Fn(u8) -> bool) -> usize {
        let mut at = from;
        while self.byte(at).is_some_and(&fits) {
            at += 1;
        }
        at
    }

    /// The next word, which stays.
    pub(crate) fn peek(&mut self) -> Result<Token<'t>> {
        if let Some((_, token, _)) = self.ahead {
            return Ok(token);
        }
        let start = self.skip_space(self.at);
        let (token, end) = self.lex(start)?;
        self.ahead = Some((start, token, end));
        Ok(token)
    }

    /// The next word, which is used up.
    pub(crate) fn next(&mut self) -> Result<Token<'t>> {
        let token = self.peek()?;
        if let Some((_, _, end)) = self.ahead.take() {
            self.at = end;
        }
        Ok(token)
    }

    fn lex(&self, start: usize) -> Result<(Token<'t>, usize)> {
        let suffix = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$' | b'.' | b'-');
        let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$' | b'.');
        let Some(first) = self.byte(start) else {
            return Ok((Token::End, start));
        };
        let named = |fits: &dyn Fn(u8) -> bool| {
            let end = self.run(start + 1, fits);
            (self.slice(start + 1, end), end)
        };
        Ok(match first {
            b'%' => {
                let (name, end) = named(&suffix);
                if name.is_empty() {
                    return Err(self.source.malformed(start, "`%` without a name"));
                }
                (Token::Value(name), end)
            }
            b'@' if self.byte(start + 1) == Some(b'"') => {
                let (name, end) = self.quoted(start + 1)?;
                (Token::Symbol(name), end)
            }
            b'@' => {
                let (name, end) = named(&suffix);
                (Token::Symbol(name), end)
            }
            b'^' => {
                let (name, end) = named(&suffix);
                (Token::Block(name), end)
            }
            b'#' => {
                let (name, end) = named(&word);
                (Token::Hash(name), end)
            }
            b'!' => {
                let (name, end) = named(&word);
                (Token::Bang(name), end)
            }
            b'"' => {
                let (text, end) = self.quoted(start)?;
                (Token::Text(text), end)
            }
            b'-' if self.byte(start + 1) == Some(b'>') => (Token::Arrow, start + 2),
            b'-' | b'0'..=b'9' => self.number(start)?,
            b if b.is_ascii_alphabetic() || b == b'_' => {
                let end = self.run(start, word);
                (Token::Word(self.slice(start, end)), end)
            }
            b if b.is_ascii_graphic() => (Token::Sign(b), start + 1),
            _ => {
                return Err(self
                    .source
                    .malformed(start, "a character that no program has here"));
            }
        })
    }

    fn number(&self, start: usize) -> Result<(Token<'t>, usize)> {
        let digits = start + usize::from(self.byte(start) == Some(b'-'));
        if self.byte(digits) == Some(b'0') && matches!(self.byte(digits + 1), Some(b'x')) {
            let end = self.run(digits + 2, |b| b.is_ascii_hexdigit());
            if end > digits + 2 {
                return Ok((Token::Number(self.slice(start, end)), end));
            }
        }
        let mut end = self.run(digits, |b| b.is_ascii_digit());
        if end == digits {
            return Err(self.source.malformed(start, "`-` without a number"));
        }
        if self.byte(end) == Some(b'.') {
            end = self.run(end + 1, |b| b.is_ascii_digit());
            if matches!(self.byte(end), Some(b'e' | b'E')) {
                let sign = usize::from(matches!(self.byte(end + 1), Some(b'+' | b'-')));
                let exponent = self.run(end + 1 + sign, |b| b.is_ascii_digit());
                if exponent > end + 1 + sign {
                    end = exponent;
                }
            }
        }
        Ok((Token::Number(self.slice(start, end)), end))
    }

    /// What stands between quotes, from the first of them, and where it ends.
    fn quoted(&self, start: usize) -> Result<(&'t str, usize)> {
        let bytes = self.bytes();
        let mut at = start + 1;
        loop {
            match bytes.get(at) {
                Some(b'"') => return Ok((self.slice(start + 1, at), at + 1)),
                Some(b'\\') => at += 2,
                Some(_) => at += 1,
                None => return Err(self.source.malformed(start, "a string that does not end")),
            }
        }
    }

    /// Skip what stands between brackets of any kind, the first of which is next. Gives the text within.
    pub(crate) fn skip_balanced(&mut self) -> Result<&'t str> {
        let start = self.start();
        let (bytes, mut at, mut open) = (self.bytes(), start, vec![]);
        loop {
            match bytes.get(at) {
                Some(b'"') => {
                    at = self.quoted(at)?.1;
                    continue;
                }
                Some(b'-') if bytes.get(at + 1) == Some(&b'>') => at += 1,
                Some(b @ (b'<' | b'(' | b'[' | b'{')) => open.push(*b),
                Some(b @ (b'>' | b')' | b']' | b'}')) => {
                    let fits = match open.pop() {
                        Some(b'(') => *b == b')',
                        Some(before) => *b == before + 2,
                        None => false,
                    };
                    if !fits {
                        return Err(self.source.malformed(at, "a bracket that closes no other"));
                    }
                    if open.is_empty() {
                        self.seek(at + 1);
                        return Ok(self.slice(start + 1, at));
                    }
                }
                Some(_) => {}
                None => return Err(self.source.malformed(start, "a bracket that is not closed")),
            }
            at += 1;
        }
    }
}
