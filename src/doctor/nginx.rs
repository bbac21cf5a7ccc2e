//! nginx as it describes itself: `nginx -V`, and the language of its configuration files
//! (<https://nginx.org/en/docs/beginners_guide.html#conf_structure>).
//!
//! Pure and tolerant: what cannot be read is passed over, because the host's own parts of the configuration are none of our business.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// How deep files may include each other.
const INCLUDE_DEPTH: usize = 16;

/// A build of nginx, or of a program that descends from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// Name and version: `nginx/1.22.1`.
    pub name: String,
    /// The numbers of the version.
    pub version: (u32, u32, u32),
    arguments: String,
}

impl Build {
    /// Reads what `nginx -V` prints.
    pub fn parse(text: &str) -> Option<Self> {
        let name = text
            .lines()
            .find_map(|line| line.split_once("version: "))?
            .1
            .split(' ')
            .next()?;
        let mut numbers = name
            .split_once('/')?
            .1
            .split('.')
            .map(|number| number.parse().ok());
        let version = (numbers.next()??, numbers.next()??, numbers.next()??);
        let arguments = text
            .lines()
            .find_map(|line| line.strip_prefix("configure arguments: "))
            .unwrap_or_default();
        Some(Self {
            name: name.to_owned(),
            version,
            arguments: arguments.to_owned(),
        })
    }

    /// A path or a name that was compiled in, such as `conf-path`.
    pub fn argument(&self, name: &str) -> Option<&str> {
        let option = format!("--{name}=");
        self.arguments
            .split(' ')
            .find_map(|argument| argument.strip_prefix(&option))
    }
}

/// A directive of a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// Its name.
    pub name: String,
    /// What stands between its name and its end, without quotes.
    pub arguments: Vec<String>,
    /// What stands in its braces.
    pub block: Vec<Self>,
}

/// Reads one file. What is open at its end counts as closed there.
pub fn parse(text: &str) -> Vec<Directive> {
    let mut open: Vec<Vec<Directive>> = vec![Vec::new()];
    let mut heads: Vec<Vec<String>> = Vec::new();
    let mut words = Vec::new();
    let mut tokens = Tokens(text);
    while let Some(token) = tokens.next() {
        match token {
            Token::Word(word) => words.push(word),
            Token::Open => {
                if words
                    .first()
                    .is_some_and(|name| name.ends_with("_by_lua_block"))
                {
                    tokens.skip_block();
                    words.clear();
                    continue;
                }
                heads.push(std::mem::take(&mut words));
                open.push(Vec::new());
            }
            Token::End => {
                let words = std::mem::take(&mut words);
                open.last_mut()
                    .expect("the file itself stays open")
                    .extend(directive(words, Vec::new()));
            }
            Token::Close => close(&mut open, &mut heads),
        }
    }
    while !heads.is_empty() {
        close(&mut open, &mut heads);
    }
    open.pop().unwrap_or_default()
}

fn close(open: &mut Vec<Vec<Directive>>, heads: &mut Vec<Vec<String>>) {
    if let Some(head) = heads.pop() {
        let block = open.pop().unwrap_or_default();
        open.last_mut()
            .expect("the file itself stays open")
            .extend(directive(head, block));
    }
}

fn directive(mut words: Vec<String>, block: Vec<Directive>) -> Option<Directive> {
    if words.is_empty() {
        return None;
    }
    let name = words.remove(0);
    Some(Directive {
        name,
        arguments: words,
        block,
    })
}

enum Token {
    Word(String),
    Open,
    Close,
    End,
}

/// What is left of a file.
struct Tokens<'a>(&'a str);

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        loop {
            self.0 = self.0.trim_start();
            match self.0.strip_prefix('#') {
                Some(comment) => self.0 = comment.split_once('\n').map_or("", |(_, rest)| rest),
                None => break,
            }
        }
        let token = match self.0.chars().next()? {
            '{' => Token::Open,
            '}' => Token::Close,
            ';' => Token::End,
            quote @ ('"' | '\'') => return Some(Token::Word(self.quoted(quote))),
            _ => return Some(Token::Word(self.plain())),
        };
        self.0 = &self.0[1..];
        Some(token)
    }
}

impl Tokens<'_> {
    fn quoted(&mut self, quote: char) -> String {
        let mut word = String::new();
        let mut characters = self.0[1..].char_indices();
        while let Some((index, character)) = characters.next() {
            match character {
                '\\' => match characters.next() {
                    Some((_, escaped)) if escaped == quote || escaped == '\\' => word.push(escaped),
                    Some((_, other)) => word.extend(['\\', other]),
                    None => {}
                },
                _ if character == quote => {
                    self.0 = &self.0[1 + index + 1..];
                    return word;
                }
                _ => word.push(character),
            }
        }
        self.0 = "";
        word
    }

    fn plain(&mut self) -> String {
        let mut before = None;
        let end = self
            .0
            .find(|character: char| {
                let ends = character.is_whitespace()
                    || character == ';'
                    || (character == '{' && before != Some('$'));
                let escaped = before == Some('\\');
                before = Some(character);
                ends && !escaped
            })
            .unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(end);
        self.0 = rest;
        word.to_owned()
    }

    /// Passes over the inside of a block in another language, whose braces come in pairs.
    fn skip_block(&mut self) {
        let mut depth = 1_u32;
        let end = self.0.find(|character| {
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            depth == 0
        });
        self.0 = end.map_or("", |end| &self.0[end + 1..]);
    }
}

/// The files of a configuration by their paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Configuration {
    /// The file that includes the others.
    pub main: PathBuf,
    /// Their texts.
    pub files: BTreeMap<PathBuf, String>,
}

impl Configuration {
    /// Reads what `nginx -T` prints on standard output; `None` if that is no configuration.
    pub fn from_dump(dump: &str) -> Option<Self> {
        let mut configuration = Self::default();
        let mut current: Option<&mut String> = None;
        for line in dump.lines() {
            let path = line
                .strip_prefix("# configuration file ")
                .and_then(|rest| rest.strip_suffix(':'));
            if let Some(path) = path {
                let path = PathBuf::from(path);
                if configuration.files.is_empty() {
                    configuration.main.clone_from(&path);
                }
                current = Some(configuration.files.entry(path).or_default());
            } else if let Some(text) = &mut current {
                text.push_str(line);
                text.push('\n');
            }
        }
        (!configuration.files.is_empty()).then_some(configuration)
    }

    /// All directives, those of included files in the place of the `include`.
    pub fn directives(&self) -> Vec<Directive> {
        let main = self.files.get(&self.main).map_or("", |text| text.as_str());
        self.expand(parse(main), INCLUDE_DEPTH)
    }

    fn expand(&self, directives: Vec<Directive>, depth: usize) -> Vec<Directive> {
        let mut expanded = Vec::new();
        for mut directive in directives {
            if directive.name != "include" || depth == 0 {
                directive.block = self.expand(directive.block, depth);
                expanded.push(directive);
                continue;
            }
            for pattern in &directive.arguments {
                let pattern = self.include_pattern(pattern);
                let included = self
                    .files
                    .iter()
                    .filter(|(path, _)| matches(&pattern, path));
                for (_, text) in included {
                    expanded.extend(self.expand(parse(text), depth - 1));
                }
            }
        }
        expanded
    }

    /// Relative names are those of the main file's directory.
    pub fn include_pattern(&self, pattern: &str) -> PathBuf {
        self.main.parent().unwrap_or(Path::new("/")).join(pattern)
    }
}

/// Whether a path fits a pattern of glob(7), of which `*` and `?` are known here.
pub fn matches(pattern: &Path, path: &Path) -> bool {
    pattern.components().count() == path.components().count()
        && pattern
            .components()
            .zip(path.components())
            .all(|(pattern, name)| {
                fits(
                    pattern.as_os_str().as_encoded_bytes(),
                    name.as_os_str().as_encoded_bytes(),
                )
            })
}

fn fits(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => (0..=name.len()).any(|taken| fits(rest, &name[taken..])),
        (Some((b'?', rest)), Some((_, name))) => fits(rest, name),
        (Some((expected, rest)), Some((found, name))) => expected == found && fits(rest, name),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
