//! Words, directives and blocks of one file.

use std::fmt;
use std::rc::Rc;

/// A line of a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The path of the file, as `nginx -T` prints it.
    pub file: Rc<str>,
    /// The line, counted from 1.
    pub line: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}", self.file, self.line)
    }
}

/// A directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// Its name.
    pub name: String,
    /// The words between its name and its end, without their quotes.
    pub arguments: Vec<String>,
    /// The line of its name.
    pub place: Place,
    /// What its braces enclose; `None` for a directive that ends with a semicolon.
    pub block: Option<Block>,
}

impl Directive {
    /// The directives in its braces; none for a directive without a block.
    pub fn children(&self) -> &[Self] {
        self.block
            .as_ref()
            .map_or(&[], |block| block.directives.as_slice())
    }

    /// The directive as it is written, in one line and without its block.
    pub fn text(&self) -> String {
        let words = std::iter::once(&self.name).chain(&self.arguments);
        words.map(String::as_str).collect::<Vec<_>>().join(" ")
    }
}

/// What two braces enclose.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Block {
    /// Its directives.
    pub directives: Vec<Directive>,
    /// The line of the opening brace.
    pub line: u32,
    /// Whether nothing but white space or a comment follows the opening brace on its line.
    pub brace_ends_line: bool,
}

/// A directive whose block is still open.
struct Open {
    words: Vec<String>,
    place: Place,
    block: Block,
}

/// Reads one file. Text that nginx itself would refuse gives what was read of it: a block that is open at the end is closed there,
/// and a closing brace too many is skipped.
pub fn read(file: &str, text: &str) -> Vec<Directive> {
    let file: Rc<str> = file.into();
    let mut words: Vec<String> = Vec::new();
    let mut first_line = 1;
    let mut finished: Vec<Directive> = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    let mut tokens = Tokens {
        rest: text,
        line: 1,
    };
    while let Some(token) = tokens.next() {
        match token {
            Token::Word(word, line) => {
                if words.is_empty() {
                    first_line = line;
                }
                words.push(word);
            }
            Token::End => {
                let place = at(&file, first_line);
                let ended = directive(std::mem::take(&mut words), place, None);
                level(&mut finished, &mut open).extend(ended);
            }
            Token::Open => {
                let block = Block {
                    directives: Vec::new(),
                    line: tokens.line,
                    brace_ends_line: tokens.line_ends(),
                };
                // OpenResty reads these blocks as Lua (lua-nginx-module, `content_by_lua_block`).
                let is_lua = words
                    .first()
                    .is_some_and(|name| name.ends_with("_by_lua_block"));
                open.push(Open {
                    words: std::mem::take(&mut words),
                    place: at(&file, first_line),
                    block,
                });
                if is_lua {
                    tokens.skip_lua();
                    close(&mut finished, &mut open);
                }
            }
            Token::Close => {
                words.clear();
                close(&mut finished, &mut open);
            }
        }
    }
    while !open.is_empty() {
        close(&mut finished, &mut open);
    }
    finished
}

fn at(file: &Rc<str>, line: u32) -> Place {
    let file = Rc::clone(file);
    Place { file, line }
}

/// The directives of the innermost open block, or of the file.
fn level<'a>(file: &'a mut Vec<Directive>, open: &'a mut [Open]) -> &'a mut Vec<Directive> {
    match open.last_mut() {
        Some(innermost) => &mut innermost.block.directives,
        None => file,
    }
}

fn close(file: &mut Vec<Directive>, open: &mut Vec<Open>) {
    if let Some(innermost) = open.pop() {
        let closed = directive(innermost.words, innermost.place, Some(innermost.block));
        level(file, open).extend(closed);
    }
}

fn directive(mut words: Vec<String>, place: Place, block: Option<Block>) -> Option<Directive> {
    if words.is_empty() {
        return None;
    }
    let name = words.remove(0);
    Some(Directive {
        name,
        arguments: words,
        place,
        block,
    })
}

enum Token {
    /// A word and its line.
    Word(String, u32),
    Open,
    Close,
    End,
}

/// The text that is still to be read, and the line that it begins in.
struct Tokens<'a> {
    rest: &'a str,
    line: u32,
}

impl Tokens<'_> {
    fn next(&mut self) -> Option<Token> {
        self.skip_blanks();
        let token = match self.rest.chars().next()? {
            '{' => Token::Open,
            '}' => Token::Close,
            ';' => Token::End,
            quote @ ('"' | '\'') => {
                let line = self.line;
                return Some(Token::Word(self.quoted(quote), line));
            }
            _ => {
                let line = self.line;
                return Some(Token::Word(self.plain(), line));
            }
        };
        self.advance(1);
        Some(token)
    }

    /// Skips white space and comments.
    fn skip_blanks(&mut self) {
        loop {
            let blanks = self.rest.len() - self.rest.trim_start_matches(is_blank).len();
            self.advance(blanks);
            if !self.rest.starts_with('#') {
                return;
            }
            self.advance(self.rest.find('\n').unwrap_or(self.rest.len()));
        }
    }

    fn advance(&mut self, bytes: usize) {
        let (passed, rest) = self.rest.split_at(bytes);
        let lines = passed.bytes().filter(|&byte| byte == b'\n').count();
        self.line = self
            .line
            .saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
        self.rest = rest;
    }

    fn line_ends(&self) -> bool {
        let line = self.rest.split('\n').next().unwrap_or_default();
        let line = line.trim_start_matches(is_blank);
        line.is_empty() || line.starts_with('#')
    }

    fn quoted(&mut self, quote: char) -> String {
        let mut characters = self.rest[1..].char_indices();
        let end = loop {
            match characters.next() {
                Some((_, '\\')) => drop(characters.next()),
                Some((index, character)) if character == quote => break Some(index + 1),
                Some(_) => {}
                None => break None,
            }
        };
        let word = unescaped(&self.rest[1..end.unwrap_or(self.rest.len())]);
        self.advance(end.map_or(self.rest.len(), |end| end + 1));
        word
    }

    fn plain(&mut self) -> String {
        let mut characters = self.rest.char_indices();
        let mut after_dollar = false;
        let end = loop {
            let Some((index, character)) = characters.next() else {
                break self.rest.len();
            };
            match character {
                // `${name}`: this brace opens no block.
                '{' if after_dollar => {}
                '\\' => drop(characters.next()),
                ';' | '{' => break index,
                blank if is_blank(blank) => break index,
                _ => {}
            }
            after_dollar = character == '$';
        };
        let word = unescaped(&self.rest[..end]);
        self.advance(end);
        word
    }

    /// Skips the inside of a Lua block and its closing brace: braces come in pairs outside strings and comments.
    fn skip_lua(&mut self) {
        let mut depth = 1_u32;
        let mut rest = self.rest;
        while depth > 0 {
            let Some(next) = rest.find(['{', '}', '"', '\'', '-', '[']) else {
                rest = "";
                break;
            };
            rest = &rest[next..];
            let taken = match rest.as_bytes()[0] {
                b'{' => {
                    depth += 1;
                    1
                }
                b'}' => {
                    depth -= 1;
                    1
                }
                b'[' => rest.strip_prefix("[[").map_or(1, |inner| {
                    inner.find("]]").map_or(rest.len(), |end| end + 4)
                }),
                b'-' if rest.starts_with("--") && !rest.starts_with("--[[") => {
                    rest.find('\n').unwrap_or(rest.len())
                }
                b'-' => 1,
                quote => lua_string(rest, quote),
            };
            rest = &rest[taken..];
        }
        self.advance(self.rest.len() - rest.len());
    }
}

/// The length of a Lua string with its quotes.
fn lua_string(text: &str, quote: u8) -> usize {
    let bytes = text.as_bytes();
    let mut index = 1;
    while index < bytes.len() {
        match bytes[index] {
            b'\\' => index += 1,
            byte if byte == quote => return index + 1,
            _ => {}
        }
        index += 1;
    }
    bytes.len()
}

const fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\n')
}

/// `\"`, `\'`, `\\`, `\t`, `\r` and `\n` stand for a character; nginx keeps any other backslash.
fn unescaped(text: &str) -> String {
    let mut word = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            word.push(character);
            continue;
        }
        match characters.next() {
            Some(escaped @ ('"' | '\'' | '\\')) => word.push(escaped),
            Some('t') => word.push('\t'),
            Some('r') => word.push('\r'),
            Some('n') => word.push('\n'),
            Some(other) => word.extend(['\\', other]),
            None => word.push('\\'),
        }
    }
    word
}
